"""The last step of a run is always saved, and a run that goes on from it ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from callbacks.last_checkpoint import LastCheckpoint
from formats.errors import InputError
from tests.support.toy_task import assert_same_state, fit, load, run, write_config

ENDS = {
    "epochs": (["--trainer.max_epochs=2"], 12),
    "steps within an epoch": (["--trainer.max_steps=8"], 8),
    "steps without a validation": (["--trainer.max_steps=8", "--trainer.check_val_every_n_epoch=5"], 8),
    "validation in the middle of an epoch": (["--trainer.max_steps=9", "--trainer.val_check_interval=4"], 9),
    "validation by steps": (
        ["--trainer.max_steps=9", "--trainer.val_check_interval=8", "--trainer.check_val_every_n_epoch=null"],
        9,
    ),
    "epochs between saves": (["--trainer.max_epochs=2", "--trainer.callbacks.every_n_epochs=5"], 12),
    "accumulated gradients": (["--trainer.max_steps=5", "--trainer.accumulate_grad_batches=2"], 5),
}


@pytest.mark.parametrize(
    "end", [end if end == "steps within an epoch" else pytest.param(end, marks=pytest.mark.slow) for end in ENDS]
)
def test_the_last_step_is_saved_and_the_run_goes_on_with_the_same_bits(tmp_path: Path, end: str) -> None:
    words, steps = ENDS[end]
    stopped = fit(tmp_path / "stopped", *words) / "last.ckpt"
    assert load(stopped)["global_step"] == steps
    rest = [word for word in words if "max_" not in word]
    resumed = fit(tmp_path / "stopped", *rest, f"--ckpt_path={stopped}") / "last.ckpt"
    whole = fit(tmp_path / "whole", *rest) / "last.ckpt"
    assert_same_state(load(whole), load(resumed))


@pytest.mark.slow
def test_a_run_stopped_by_time_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    slow = "--model.step_seconds=0.3"
    stopped = fit(tmp_path / "stopped", slow, "--trainer.max_time=00:00:00:01") / "last.ckpt"
    assert 1 <= load(stopped)["global_step"] < 6
    resumed = fit(tmp_path / "stopped", f"--ckpt_path={stopped}", "--model.step_seconds=0") / "last.ckpt"
    assert_same_state(load(fit(tmp_path / "whole") / "last.ckpt"), load(resumed))


def test_checkpoints_are_saved_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = Trainer.save_checkpoint

    def record(trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        saved.append(trainer.global_step)
        save(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", record)
    words = ["--trainer.max_epochs=1", "--trainer.callbacks=[{class_path: callbacks.last_checkpoint.LastCheckpoint}]"]
    fit(tmp_path, *words, "--trainer.callbacks.every_minutes=1e-9", "--trainer.callbacks.every_n_epochs=100")
    assert saved == [1, 2, 3, 4, 5, 6]
    saved.clear()
    fit(tmp_path, *words)
    assert saved == [6]


def test_the_checkpoint_of_the_end_holds_the_weights_being_trained(tmp_path: Path) -> None:
    """The average replaces the module's weights when training ends, before the last checkpoint is written."""
    at_end = load(fit(tmp_path / "a", "--trainer.max_epochs=2", "--trainer.callbacks.every_n_epochs=5") / "last.ckpt")
    at_epoch = load(fit(tmp_path / "b", "--trainer.max_epochs=2") / "last.ckpt")
    assert_same_state(at_end, at_epoch)
    assert not torch.equal(at_end["state_dict"]["network.weight"], at_end["current_model_state"]["network.weight"])


def test_runs_without_a_logger_keep_each_others_checkpoints(tmp_path: Path) -> None:
    words = ["fit", f"--config={write_config(tmp_path)}", "--trainer.logger=false", "--trainer.callbacks=null"]
    run(*words, "--trainer.max_epochs=1")
    run(*words, "--trainer.max_epochs=2")
    first, second = (load(tmp_path / "checkpoints" / name) for name in ("last.ckpt", "last-v1.ckpt"))
    assert (first["global_step"], second["global_step"]) == (6, 12)
    run(*words, "--trainer.max_epochs=3", f"--ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}")
    assert load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 18


@pytest.mark.parametrize("arguments", [{"every_minutes": 0}, {"every_n_epochs": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        LastCheckpoint(**arguments)


def test_the_progress_that_is_kept_after_every_step_is_small(tmp_path: Path) -> None:
    checkpoint = load(fit(tmp_path, "--trainer.max_epochs=1") / "last.ckpt")
    size = sum(value.numel() if isinstance(value, Tensor) else 1 for value in checkpoint["loops"]["fit_loop"].values())
    assert size < 100
