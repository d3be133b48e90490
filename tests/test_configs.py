"""Every shipped configuration that trains keeps its last step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from callbacks.last_checkpoint import LastCheckpoint
from command_line.trainer import Trainer
from configs import FOLDER


def callbacks(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content.get("trainer", {}).get("callbacks", [])
    return found


TRAINING = [path for path in sorted(FOLDER.rglob("*.yaml")) if "monitor" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_configuration_keeps_the_best_and_the_last_step(path: Path) -> None:
    names = [part["class_path"] for part in callbacks(path)]
    assert names.count("ModelCheckpoint") == names.count("LastCheckpoint") == 1
    (last,) = (part for part in callbacks(path) if part["class_path"] == "LastCheckpoint")
    assert LastCheckpoint(**last.get("init_args", {})).every_minutes == 10
    (best,) = (part["init_args"] for part in callbacks(path) if part["class_path"] == "ModelCheckpoint")
    assert best["monitor"]


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_configuration_logs_learning_rate_and_weight_decay(path: Path) -> None:
    (monitor,) = (part for part in callbacks(path) if part["class_path"] == "LearningRateMonitor")
    assert monitor["init_args"] == {"logging_interval": "step", "log_weight_decay": True}


def test_a_trainer_without_one_adds_it() -> None:
    def last(**arguments: Any) -> list[LastCheckpoint]:
        trainer = Trainer(accelerator="cpu", logger=False, **arguments)
        return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, LastCheckpoint)]

    assert len(last()) == len(last(callbacks=[])) == 1
    given = LastCheckpoint(every_minutes=3)
    assert last(callbacks=given) == last(callbacks=[given]) == [given]
    assert last(enable_checkpointing=False) == []
