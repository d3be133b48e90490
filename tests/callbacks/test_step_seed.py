"""Random numbers of a training step depend on the seed, the step and the process."""

from types import SimpleNamespace
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer

from callbacks.step_seed import StepSeed


def draw(seed: int = 0, batches: int = 5, rank: int = 0) -> list[float]:
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=batches))
    trainer: Any = SimpleNamespace(fit_loop=loop, global_rank=rank)
    torch.rand(3)  # the state before the step does not matter
    StepSeed(seed).on_train_batch_start(cast(Trainer, trainer), LightningModule(), None, 0)
    numbers: list[float] = torch.rand(4).tolist()
    return numbers


def test_a_step_draws_the_same_numbers_again() -> None:
    assert draw() == draw()


def test_seed_step_and_process_each_change_the_numbers() -> None:
    drawn = [draw(), draw(seed=1), draw(batches=6), draw(rank=1)]
    assert len({tuple(numbers) for numbers in drawn}) == 4
