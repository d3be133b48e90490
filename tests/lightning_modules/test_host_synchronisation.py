"""A training step asks a GPU for no value, which would make it wait."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_modules.training_steps import TrainingSteps
from losses.processes import Processes
from tests.support.tiny_tasks import TASKS, tiny_trainer

aten = torch.ops.aten
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero}


class Waits(TorchDispatchMode):
    """Lists operations whose result is a number on the host, or has a shape that depends on values."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # mypy knows by this name that the untyped call is torch's
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        is_mask = packet in (aten.index, aten.index_put, aten.index_put_) and any(
            part is not None and part.dtype is torch.bool for part in args[1]
        )
        # index_put with a number is a masked_fill, which does not wait
        if packet in WAITING or (is_mask and not (len(args) > 2 and args[2].numel() == 1)):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_waiting_operations_are_found() -> None:
    values = torch.arange(3.0)
    with Waits() as waits:
        values.max().item()
        values[values > 1]
        values[values > 1] = 0.0
        bool(values.sum() > 2)
    assert len(waits.found) == 3


@pytest.mark.parametrize("task", ["microdoppler", pytest.param("pair", marks=pytest.mark.slow), "layers"])
def test_losses_and_gradients_do_not_wait(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = TASKS[task](tmp_path)
    lists: list[str] = []
    tolist = Tensor.tolist

    def recorded(tensor: Tensor) -> Any:
        lists.append("tolist")
        return tolist(tensor)

    found: list[list[str]] = []
    losses = module.losses

    def watched(batch: Any, processes: Processes = Processes()) -> dict[str, Tensor]:
        with monkeypatch.context() as patched, Waits() as waits:
            patched.setattr(Tensor, "tolist", recorded)
            terms = losses(batch, processes)
            terms[module.OBJECTIVE].backward(retain_graph=True)
        found.append(waits.found)
        return terms

    monkeypatch.setattr(module, "losses", watched)
    tiny_trainer(max_steps=1).fit(module, data)
    assert found == [[]]
    assert lists == []


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cpu", "32-true", None),
        ("cuda", "32-true", True),
        ("cuda", "bf16-mixed", True),
        ("cuda", "16-mixed", None),  # Lightning cannot clip the scaled gradients of a fused optimiser
    ],
)
def test_fused_adamw_is_chosen_where_it_is_supported(device: str, precision: str, expected: bool | None) -> None:
    module = SimpleNamespace(device=torch.device(device), trainer=SimpleNamespace(precision=precision))
    choice = TrainingSteps.__dict__["fused_optimizer"]
    assert choice.fget(module) is expected
