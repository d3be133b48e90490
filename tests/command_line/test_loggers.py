"""Loggers by short names, and names of W&B runs."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import dict_to_namespace

from cli import TASKS
from command_line.loggers import named_runs, run_name, with_loggers
from command_line.tasks import UsageError
from configs import FOLDER
from tests.support import toy_task

CONFIG = f"--config={FOLDER / 'dit_microdoppler.yaml'}"


def loggers(*words: str) -> Any:
    *others, last = with_loggers([CONFIG, *words])
    assert others == [CONFIG]
    return json.loads(last.removeprefix("--trainer.logger="))


@pytest.mark.parametrize(
    "words",
    [
        ["--logger=wandb,csv,tensorboard"],
        ["--logger", "wandb", "csv", "tensorboard"],
        ["--logger", "csv, WandB,tensorboard"],
    ],
)
def test_loggers_are_named_shortly_and_keep_the_settings_of_the_configuration(words: list[str]) -> None:
    assert loggers(*words) == [
        {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "dit_microdoppler"}},
        {
            "class_path": "TensorBoardLogger",
            "init_args": {"save_dir": "runs", "name": "dit_microdoppler", "default_hp_metric": False},
        },
        {
            "class_path": "WandbLogger",
            "init_args": {"project": "trilight-microdoppler", "save_dir": "runs/dit_microdoppler"},
        },
    ]


def test_without_a_configuration_they_are_in_the_root_folder() -> None:
    word = with_loggers(["--trainer.default_root_dir=out", "--logger=csv"])[-1]
    assert '"save_dir": "out", "name": ""' in word


def test_other_words_are_kept_and_none_is_none() -> None:
    assert with_loggers(["--a", "1", "--b=2"]) == ["--a", "1", "--b=2"]
    assert with_loggers(["--logger", "none", "--b=2"]) == ["--b=2", "--trainer.logger=false"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--logger=tensorbord", "Did you mean 'tensorboard'"),
        ("--logger=x", "Choose from csv"),
        ("--logger", "no logger"),
    ],
)
def test_unknown_loggers_are_refused(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_loggers([word])


def test_a_run_is_named_by_task_size_and_time() -> None:
    settings = dict_to_namespace(
        {
            "model": {
                "class_path": "a.UserConditionedDiTModule",
                "init_args": {"network": {"hidden_size": 8, "depth": 3}},
            },
            "trainer": {"logger": [{"class_path": "l.WandbLogger", "init_args": {"name": None}}]},
        }
    )
    assert run_name(settings, TASKS, datetime(2026, 5, 1, 14, 30)) == "micro-Doppler 3x8 2026-05-01 14:30"
    assert run_name(dict_to_namespace({}), TASKS, datetime(2026, 5, 1, 14, 30)).endswith("2026-05-01 14:30")
    arguments = settings.trainer.logger[0].init_args
    with named_runs(settings, TASKS):
        assert arguments.name.startswith("micro-Doppler 3x8 ")
    assert arguments.name is None
    arguments.name = "mine"
    with named_runs(settings, TASKS):
        assert arguments.name == "mine"
    assert arguments.name == "mine"


def test_curves_have_the_same_names_everywhere(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_task.fit(tmp_path, "--logger=tensorboard,csv", "--trainer.max_epochs=1")
    run = tmp_path / "toy" / "version_0"
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    curves = EventAccumulator(str(run)).Reload().Tags()["scalars"]
    assert set(header) - {"epoch", "step"} == set(curves) - {"epoch"}
    assert "hp_metric" not in curves
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert len(record["trainer"]["logger"]) == 2
