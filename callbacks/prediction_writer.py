"""Base of callbacks that write predictions: computation with a fixed number of CPU threads."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from formats.errors import check_settings


class PredictionWriter(BasePredictionWriter):
    """Write predictions batch by batch, computed with the same number of CPU threads in every process.

    Sums are split among threads, so that the last bits of a result depend on their number. By default PyTorch uses
    as many threads as there are cores, and Lightning fewer in each of several processes: files from one and from two
    processes would differ. On the CPU, use more processes (``--trainer.devices``) rather than more threads.

    Args:
        num_threads: CPU threads of each process.
    """

    def __init__(self, num_threads: int = 1) -> None:
        super().__init__(write_interval="batch")
        check_settings({"num_threads": ("at least 1", num_threads >= 1)})
        self.num_threads = num_threads
        self._num_threads_before = torch.get_num_threads()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the number of threads; subclasses call this first."""
        super().setup(trainer, pl_module, stage)
        self._num_threads_before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the number of threads; subclasses call this last."""
        torch.set_num_threads(self._num_threads_before)
        super().teardown(trainer, pl_module, stage)
