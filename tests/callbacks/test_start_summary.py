"""Summary at the start of a command."""

from pathlib import Path

import pytest

from callbacks.start_summary import summary_lines
from tests.support import tiny_tasks, toy_task


def test_training_starts_with_a_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        toy_task.fit(tmp_path, "--trainer.max_epochs=1", "--trainer.precision=32-true")
    lines = caplog.text.splitlines()
    found = [
        line.partition(" ")[2].strip() for line in caplog.messages if line.startswith(("network", "machine", "results"))
    ]
    assert found == [
        "ToyModule with Linear, parameters: 6 trained, 0 frozen",
        "1 × CPU, precision 32-true",
        f"{tmp_path}/toy/version_0, logged by CSV",
    ]
    assert sum("data:    ToyDataModule" in line for line in lines) == 1
    assert "available" not in caplog.text
    assert "FLOPs" not in caplog.text


def test_data_is_counted_by_split(tmp_path: Path) -> None:
    module, data = tiny_tasks.microdoppler(tmp_path)
    trainer = tiny_tasks.tiny_trainer()
    trainer.fit(module, datamodule=data)
    first = summary_lines(trainer, module, None)[0]
    assert first == f"data:    LatentDataModule, {tmp_path / 'latents'}: 12 train, 6 val"
