"""Progress of training in a log file."""

import re
from pathlib import Path

import pytest

from formats import progress
from tests.support import toy_task


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line is due."""
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


@pytest.mark.usefixtures("without_pauses")
def test_training_says_what_is_done_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_task.fit(tmp_path, "--trainer.max_epochs=2")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fit: ")]
    assert lines[0].startswith("fit: epoch 1 of 2, batches: 1 of 12, 11 left, ")
    assert lines[7].startswith("fit: epoch 2 of 2, batches: 8 of 12, 4 left, ")
    assert ", val/loss " in lines[7]
    assert re.match(r"fit: 2 epochs in \d+ s, .*val/loss ", lines[-1])


@pytest.mark.usefixtures("without_pauses")
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_other_commands_count_their_batches(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_task.run(command, f"--config={toy_task.write_config(tmp_path)}", "--trainer.logger=false")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{command}: ")]
    assert lines[1].startswith(f"{command}: batches: 2 of 6, 4 left, ")


def test_a_quick_run_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy_task.fit(tmp_path, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1")
    assert "batches:" not in capsys.readouterr().err
