"""Random numbers of a training step that depend only on the seed, the step and the process."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from formats.ranges import AT_LEAST_0, check_ranges


class StepSeed(Callback):
    """Seed PyTorch before every training step, so that a resumed run draws the same random numbers.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int = 0) -> None:
        check_ranges("StepSeed", {"seed": seed}, {"seed": AT_LEAST_0})
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Derive the step's seed from the number of batches so far, which includes those of gradient accumulation."""
        num_batches = trainer.fit_loop.epoch_loop.total_batch_idx
        key = np.random.SeedSequence((self.seed, num_batches, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))
