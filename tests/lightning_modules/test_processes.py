"""Training on two processes equals training on one with batches twice as large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from torch.optim import Optimizer
from torch.testing import assert_close

from lightning_modules.training_steps import TrainingSteps
from tests.support.tiny_tasks import TASKS, tiny_trainer

STEPS = 3
BATCH_SIZES = {"microdoppler": 2, "pair": 1, "layers": 2}  # of each process


class Record(Callback):
    """Record losses and gradients of each step, and save them at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.losses, self.gradients = path, list[dict[str, torch.Tensor]](), list[dict[str, torch.Tensor]]()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, TrainingSteps)
        self.losses.append({name: value.clone() for name, value in pl_module.step_terms.items()})
        gradients = {name: part.grad for name, part in pl_module.named_parameters() if part.grad is not None}
        self.gradients.append({name: gradient.clone() for name, gradient in gradients.items()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        content = {"losses": self.losses, "gradients": self.gradients, "logged": dict(trainer.logged_metrics)}
        torch.save(content, f"{self.path}{trainer.global_rank}.pt")


def trained(task: str, folder: Path, num_processes: int) -> list[dict[str, Any]]:
    """Train on so many processes with the same total batch size, and return the record of each process."""
    seed_everything(0)
    module, data = TASKS[task](folder, batch_size=BATCH_SIZES[task] * 2 // num_processes)
    record = Record(folder / f"of{num_processes}-")
    trainer = tiny_trainer(
        num_processes, max_epochs=STEPS, max_steps=STEPS, callbacks=[record], use_distributed_sampler=False
    )
    trainer.fit(module, data)
    return [torch.load(f"{record.path}{rank}.pt") for rank in range(num_processes)]


@pytest.mark.parametrize(
    "task",
    ["microdoppler", pytest.param("pair", marks=pytest.mark.slow), pytest.param("layers", marks=pytest.mark.slow)],
)
def test_two_processes_equal_one_with_twice_the_batch(task: str, tmp_path: Path) -> None:
    """Up to rounding: sums are added in another order."""
    (one,) = trained(task, tmp_path, 1)
    first, second = trained(task, tmp_path, 2)
    assert first["losses"] == second["losses"], "both have the mean over processes"
    assert_close(first["logged"], one["logged"], rtol=2e-4, atol=1e-5)
    for step in range(STEPS):
        for name, value in one["losses"][step].items():
            assert_close(first["losses"][step][name], value, rtol=2e-4, atol=1e-5, msg=f"{name} of step {step}")
    norms = [torch.nn.utils.get_total_norm(list(run["gradients"][0].values())) for run in (one, first)]
    assert_close(norms[1], norms[0], rtol=1e-5, atol=0)
    for name, gradient in one["gradients"][0].items():
        assert_close(first["gradients"][0][name], gradient, rtol=1e-3, atol=1e-5 * float(norms[0]), msg=name)
