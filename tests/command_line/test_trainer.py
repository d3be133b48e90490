"""The trainer's precision."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelSummary

from command_line import processor
from command_line.processor import bf16_instructions
from command_line.trainer import Trainer, hardware_precision

X86 = "processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: fpu avx512f avx512_vnni{}\nbogomips\t: 5200\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm{}\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that describes the processor, of one without bf16 at first; oneDNN is not limited."""
    path = tmp_path / "cpuinfo"
    path.write_text(X86.format(""))
    monkeypatch.setattr(processor, "CPUINFO", path)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    return path


@pytest.mark.parametrize(
    ("gpu", "bf16", "expected"), [(False, False, "32-true"), (True, False, "16-mixed"), (True, True, "bf16-mixed")]
)
def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch, gpu: bool, bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert hardware_precision() == expected
    assert hardware_precision("cpu") == "32-true"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format(""), None),
        (X86.format(" avx512_bf16"), "avx512_bf16"),
        (X86.format(" avx512_bf16 amx_bf16 amx_tile"), "amx_bf16"),
        (ARM.format(" bf16"), "bf16"),
        (ARM.format(" svebf16x"), None),
        ("", None),
    ],
)
def test_bf16_products_are_read_from_the_flags(cpuinfo: Path, text: str, expected: str | None) -> None:
    cpuinfo.write_text(text)
    assert bf16_instructions() == expected
    assert hardware_precision("cpu") == ("bf16-mixed" if expected else "32-true")


def test_apples_gpu_computes_in_float32(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo.write_text(ARM.format(" bf16"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    assert [hardware_precision(name) for name in ("auto", "mps", "cpu")] == ["32-true", "32-true", "bf16-mixed"]


def test_limits_of_onednn_and_other_systems(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo.write_text(X86.format(" avx512_bf16"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core_bf16")
    assert bf16_instructions() == "avx512_bf16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    assert bf16_instructions() is None
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    cpuinfo.unlink()
    assert bf16_instructions() is None


def test_the_choice_of_bf16_is_one_line(
    cpuinfo: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(rank_zero, "propagate", True)
    with caplog.at_level(logging.INFO):
        assert Trainer(accelerator="cpu", logger=False).precision == "32-true"
        assert "precision:" not in caplog.text
        cpuinfo.write_text(X86.format(" avx512_bf16"))
        assert Trainer(accelerator="cpu", logger=False).precision == "bf16-mixed"
        assert Trainer(accelerator="cpu", precision="32-true", logger=False).precision == "32-true"
    lines = [record.getMessage() for record in caplog.records if "precision:" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith(
        "precision: bf16-mixed, since the processor has avx512_bf16; --trainer.precision 32-true"
    )


def test_the_tests_compute_in_float32() -> None:
    assert bf16_instructions() is None


def test_a_chosen_precision_is_kept() -> None:
    trainer = Trainer(accelerator="cpu", precision="bf16-true", logger=False)
    assert trainer.precision == "bf16-true"
    assert Trainer(accelerator="cpu", logger=False).precision == hardware_precision("cpu")
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
