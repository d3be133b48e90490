"""Gradient norms in training, in all three tasks."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.optim import Optimizer

from lightning_modules.training_steps import LargestNorm, TrainingSteps
from tests.support.tiny_tasks import TASKS, pair, tiny_trainer

PARTS = {
    "microdoppler": {"x_embedder", "t_embedder", "y_embedder", "blocks", "final_layer"},
    "pair": {"aggregator", "camera_head", "depth_head"},
    "layers": {"encoder", "decoder", "head"},
}


class Gradients(Callback):
    """Keeps the gradients of each step, before clipping."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, TrainingSteps)
        parameters = pl_module.network.named_parameters()
        self.steps.append({name: part.grad.clone() for name, part in parameters if part.grad is not None})


def logged(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the run's metrics.csv that hold gradient norms."""
    with (folder / "run" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if any(value for name, value in row.items() if name.startswith("grad_norm/"))]


def train(task: str, folder: Path, **settings: Any) -> tuple[Gradients, Any]:
    module, data = TASKS[task](folder, batch_size=1, learning_rate=1e-3, **settings)
    gradients = Gradients()
    trainer = tiny_trainer(
        logger=CSVLogger(folder, "run"), callbacks=[gradients], limit_train_batches=2, log_every_n_steps=2
    )
    trainer.fit(module, data)
    return gradients, module


@pytest.mark.parametrize("task", TASKS)
def test_norms_of_the_parts_are_logged(task: str, tmp_path: Path) -> None:
    gradients, module = train(task, tmp_path, **({"clip_norm": 1e-3} if task == "pair" else {}))
    (row,) = logged(tmp_path)  # of the second step
    norms = {name.removeprefix("grad_norm/"): float(value) for name, value in row.items() if name.startswith("grad_")}
    assert norms.keys() >= PARTS[task] - {"head", "decoder"}
    for part, norm in norms.items():
        own = [grad for name, grad in gradients.steps[1].items() if name.partition(".")[0] == part]
        assert norm == pytest.approx(math.sqrt(sum(float(grad.square().sum()) for grad in own)), rel=1e-3)
    assert module.largest_gradients == {}


def test_norms_of_all_parameters_are_logged_and_the_largest_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gradients, module = train("microdoppler", tmp_path, log_gradients="full")
    rows = logged(tmp_path)  # of one step
    cells = [cell for row in rows for cell in row.items()]
    norms = {name: float(value) for name, value in cells if name.startswith("grad_") and value}
    expected = {name: float(grad.norm()) for name, grad in gradients.steps[1].items()}
    assert {name: norms[f"grad_norm/{name}"] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert "grad_norm/blocks" in norms
    largest = sorted(expected, key=lambda name: expected[name], reverse=True)[:10]
    assert [name for name, _ in module.most_gradients()] == largest
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("largest gradient norms by parameter:") + 1].endswith(f"{largest[0]}, step 2")


def test_norms_can_be_left_out(tmp_path: Path) -> None:
    train("microdoppler", tmp_path, log_gradients="none")
    assert logged(tmp_path) == []


def test_the_largest_of_the_run_is_kept(tmp_path: Path) -> None:
    module = pair(tmp_path)[0]
    norms = {"a": LargestNorm(1.0, 5), "b": LargestNorm(math.nan, 1), "c": LargestNorm(3.0, 2)}
    module.largest_gradients = {**norms, **{f"x{number}": LargestNorm(0.1, 1) for number in range(20)}}
    assert [name for name, _ in module.most_gradients()][:3] == ["b", "c", "a"]
    assert len(module.most_gradients()) == 10
