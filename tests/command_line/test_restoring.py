"""Checkpoints that do not fit are explained in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from command_line.restoring import explained_restoring
from formats.errors import InputError
from tests.command_line.test_lightning_cli import run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    run("fit", "--model.value=3")
    (path,) = tmp_path.rglob("*.ckpt")
    return path


def shapes(content: dict[str, Any]) -> None:
    content["state_dict"]["layer.weight"] = torch.ones(2, 31)


def missing(content: dict[str, Any]) -> None:
    del content["state_dict"]["layer.bias"]


def optimizer(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"] = []


def no_loops(content: dict[str, Any]) -> None:
    del content["loops"]


def no_optimizer(content: dict[str, Any]) -> None:
    del content["optimizer_states"]


def other_task(content: dict[str, Any]) -> None:
    content["state_dict"] = {"network.a": torch.ones(2)}
    content["hyper_parameters"] = {}


def huge(content: dict[str, Any]) -> None:
    content["state_dict"]["layer.weight"] = torch.ones(1).expand(10**12)


@pytest.mark.filterwarnings("ignore:.*checkpoint.*")
@pytest.mark.parametrize("change", [shapes, missing, optimizer, no_loops, no_optimizer, other_task, huge])
def test_a_checkpoint_that_does_not_fit_is_named(checkpoint: Path, change: Any) -> None:
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, "bad.ckpt")
    with pytest.raises(InputError, match=r"bad\.ckpt: ") as caught:
        run("fit", "--ckpt_path=bad.ckpt", "--trainer.max_steps=4")
    assert "\n" not in str(caught.value)


def test_other_faults_pass() -> None:
    for path in (None, "a.ckpt"):
        with pytest.raises(RuntimeError, match="mine"), explained_restoring(path):
            raise RuntimeError("mine")
    with pytest.raises(InputError, match="mine"), explained_restoring("a.ckpt"):
        raise InputError("mine", "x", "y")
