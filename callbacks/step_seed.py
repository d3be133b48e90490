"""Makes the random draws of a training step depend on the seed, the step and the process alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class StepSeed(Callback):
    """Seed torch before every training step, so that an interrupted run goes on with the very same draws.

    Args:
        seed: Start of all seeds.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Derive the step's seed from the batches seen so far, which gradient accumulation counts too."""
        seen = trainer.fit_loop.epoch_loop.total_batch_idx
        key = np.random.SeedSequence((self.seed, seen, trainer.global_rank))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0] >> 1))
