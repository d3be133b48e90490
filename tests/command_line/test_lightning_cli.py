"""Lightning's commands with a toy task: threads, checkpoints, and errors of constructors."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from command_line.lightning_cli import run_lightning
from command_line.tasks import Task, UsageError
from formats.errors import InputError


class CliModule(BoringModel):
    """Learns nothing; ``value`` is stored in checkpoints."""

    def __init__(self, value: int = 1) -> None:
        super().__init__()
        if value < 0:
            raise InputError("--model.value", "must be at least 0", "Choose another value.")
        self.save_hyperparameters()

    def on_validation_epoch_end(self) -> None:
        print(f"value {self.hparams['value']}, weights {float(self.layer.weight.sum()):.6f}")


MODULE, DATA = f"{__name__}:CliModule", "lightning.pytorch.demos.boring_classes:BoringDataModule"
TASKS = [Task("toy", modules=(MODULE,), datamodules=(DATA,))]
QUIET = ["--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def run(command: str, *more: str) -> None:
    machine = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_steps=2"]
    run_lightning(TASKS, [command, "--model=CliModule", "--data=BoringDataModule", *machine, *QUIET, *more])


@pytest.mark.filterwarnings("ignore:.*checkpoint.*")
def test_a_checkpoint_gives_weights_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("fit", "--model.value=3")
    (path,) = tmp_path.rglob("*.ckpt")
    total = torch.load(path, weights_only=True)["state_dict"]["layer.weight"].sum()
    for more, value in (([], 3), (["--model.value=4"], 4)):
        capsys.readouterr()
        run("validate", f"--ckpt_path={path}", "--seed_everything=5", *more)
        assert f"value {value}, weights {float(total):.6f}" in capsys.readouterr().out


def test_number_of_threads_is_set_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_num_threads()
    try:
        run("validate", "--num_threads=2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert "threads: 2, as set by --num_threads" in caplog.text
    caplog.clear()
    monkeypatch.setenv("LOCAL_RANK", "0")  # as in a process that Lightning has started
    run("validate", "--num_threads=2")
    assert torch.get_num_threads() == before
    assert "threads:" not in caplog.text


def test_errors_of_constructors_are_not_wrapped() -> None:
    with pytest.raises(InputError) as caught:
        run("validate", "--model.value=-1")
    assert str(caught.value) == "--model.value: must be at least 0. Choose another value."


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.value=x", "--model.value: 'x' is not a valid value. Give a value of type int."),
        ("--num_threads=x", "--num_threads: 'x' is not a valid value. Give a value of type int | None."),
        ("--trainer.devicess=1", "--trainer.devicess: Trainer does not take this option. Did you mean 'devices'?"),
        ("--traner.devices=1", "--traner.devices: there is no such option. Did you mean '--trainer.devices'?"),
        ("--seed=1", "validate: unrecognized arguments: --seed=1. See `python cli.py validate --help`."),
        ("--nothing=1", "validate: unrecognized arguments: --nothing=1. See `python cli.py validate --help`."),
    ],
)
def test_refused_options_are_explained(word: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run("validate", word)
    assert str(caught.value) == message


def test_help_lists_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_lightning(TASKS, ["validate", "--help-all"])
    text = capsys.readouterr().out
    assert "--num_threads" in text
    assert "CliModule" in text
