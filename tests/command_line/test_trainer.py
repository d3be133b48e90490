"""The trainer's precision."""

import pytest
import torch

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
