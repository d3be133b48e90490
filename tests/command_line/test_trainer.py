"""The trainer's precision."""

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelSummary

from command_line.trainer import Trainer, hardware_precision


@pytest.mark.parametrize(
    ("gpu", "bf16", "expected"), [(False, False, "32-true"), (True, False, "16-mixed"), (True, True, "bf16-mixed")]
)
def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch, gpu: bool, bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert hardware_precision() == expected


def test_a_chosen_precision_is_kept() -> None:
    trainer = Trainer(accelerator="cpu", precision="bf16-true", logger=False)
    assert trainer.precision == "bf16-true"
    assert Trainer(accelerator="cpu", logger=False).precision == hardware_precision()


def count(kind: type, **arguments: Any) -> int:
    trainer = Trainer(accelerator="cpu", **arguments)
    return sum(isinstance(part, kind) for part in getattr(trainer, "callbacks"))  # noqa: B009, Lightning declares none


def test_learning_rates_are_not_monitored_without_a_logger() -> None:
    counts = [count(LearningRateMonitor, callbacks=[LearningRateMonitor()], logger=logger) for logger in (None, False)]
    assert counts == [1, 0]


def test_the_table_of_layers_is_shown_on_request_only() -> None:
    assert count(ModelSummary, logger=False) == 0
    assert count(ModelSummary, logger=False, callbacks=[ModelSummary()]) == 1
    assert count(ModelSummary, logger=False, enable_model_summary=True) == 1
