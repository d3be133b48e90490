"""Settings stored in a checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import LightningModule

from command_line.checkpoints import with_checkpoint_settings
from command_line.settings import class_settings, read_sources
from command_line.tasks import Task
from formats.errors import InputError
from formats.training_checkpoint import INSTANTIATOR


class NumberModule(LightningModule):
    """A module with two settings."""

    def __init__(self, network: dict[str, int] | None = None, rate: float = 0.0) -> None:
        super().__init__()


CLASS_PATH = f"{__name__}.NumberModule"
TASKS = [
    Task("numbers", modules=(f"{__name__}:NumberModule",)),
    Task("words", modules=("b:WordModule", "b:LetterModule")),
]


def save(path: Path, **settings: Any) -> Path:
    named = {"_class_path": CLASS_PATH, "_instantiator": INSTANTIATOR}
    torch.save({"state_dict": {}, "hyper_parameters": named | settings}, path)
    return path


def words_for(path: Path | str, *more: str) -> list[str]:
    words = [*more, f"--ckpt_path={path}"]
    return with_checkpoint_settings(words, read_sources(words), TASKS)


def test_settings_come_first_and_the_architecture_after_the_files(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", network={"depth": 2}, rate=0.1)
    (tmp_path / "full.yaml").write_text("model: {init_args: {network: {depth: 28}}}")
    words = words_for(path, "--config", "full.yaml", "--model.rate=0.2")
    stored = {"class_path": CLASS_PATH, "init_args": {"network": {"depth": 2}, "rate": 0.1}}
    assert [words[0], words[2:5], words[6:]] == [
        "--config",
        ["--config", "full.yaml", "--config"],
        ["--model.rate=0.2", f"--ckpt_path={path}"],
    ]
    assert yaml.safe_load(words[1]) == {"model": stored}
    assert yaml.safe_load(words[5]) == {"model": {"init_args": {"network": {"depth": 2}}}}
    found = [part.init_args for source in read_sources(words) if (part := class_settings(source, "model"))]
    assert [part.get("network") for part in found] == [{"depth": 2}, {"depth": 28}, {"depth": 2}, None]


def test_files_given_with_an_equals_sign_count_as_files(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", network={"depth": 2})
    (tmp_path / "full.yaml").write_text("model: {init_args: {rate: 1}}")
    words = words_for(path, "--config=full.yaml", "--seed_everything=1")
    assert words[2:4] == ["--config=full.yaml", "--config"]
    assert words[5] == "--seed_everything=1"


def test_a_module_without_a_network_has_settings_only(tmp_path: Path) -> None:
    words = words_for(save(tmp_path / "a.ckpt", rate=0.1))
    assert words.count("--config") == 1


def test_settings_of_another_version_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_for(save(tmp_path / "a.ckpt", rate=0.1, num_points=50))
    assert yaml.safe_load(words[1])["model"]["init_args"] == {"rate": 0.1}
    line = "a.ckpt: its settings num_points are of another version of NumberModule and left out\n"
    assert capsys.readouterr().err.endswith(line)


def test_a_path_in_a_configuration_file_counts(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt", rate=0.1)
    (tmp_path / "a.yaml").write_text("ckpt_path: a.ckpt")
    words = ["--config=a.yaml"]
    assert len(with_checkpoint_settings(words, read_sources(words), TASKS)) == 3


@pytest.mark.parametrize("special", ["last", "best", "hpc", "null"])
def test_words_are_resolved_later(special: str) -> None:
    assert words_for(special) == [f"--ckpt_path={special}"]


@pytest.mark.parametrize(("asked", "task"), [("WordModule", "words"), ("b.LetterModule", "words")])
def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path, asked: str, task: str) -> None:
    name = asked.rpartition(".")[2]
    message = (
        rf"a\.ckpt: this checkpoint is of the numbers task \(NumberModule\); the command is for the {task} task "
        rf"\({name}\)\. Use a configuration of NumberModule, or a checkpoint of {name}\."
    )
    with pytest.raises(InputError, match=message):
        words_for(save(tmp_path / "a.ckpt"), f"--model={asked}")


@pytest.mark.parametrize("asked", ["NumberModule", CLASS_PATH, "my.OwnModule"])
def test_a_checkpoint_of_the_same_or_a_custom_module_is_accepted(tmp_path: Path, asked: str) -> None:
    assert len(words_for(save(tmp_path / "a.ckpt"), f"--model={asked}")) == 4


def test_files_that_are_not_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.ckpt: no such checkpoint"):
        words_for("nowhere.ckpt")
    (tmp_path / "broken.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"broken\.ckpt: is damaged or not a checkpoint"):
        words_for(tmp_path / "broken.ckpt")


def test_a_checkpoint_without_a_class_path_changes_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
    assert words_for(tmp_path / "a.ckpt") == [f"--ckpt_path={tmp_path}/a.ckpt"]
