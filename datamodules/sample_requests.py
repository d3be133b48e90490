"""Which samples to generate: users and numbers, cut into batches before processes share them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.microdoppler import SampleRequestBatch
from datamodules.loading import PrebatchedDataset
from formats.errors import InputError


def sample_request_loader(
    user_ids: list[int], samples_per_user: int, batch_size: int, rank: int, world_size: int
) -> DataLoader:
    """Every so-manieth batch of the requests for all users, user by user."""
    wanted = [(user_id, index) for user_id in user_ids for index in range(samples_per_user)]
    batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
    return DataLoader(PrebatchedDataset(batches[rank::world_size], _as_batch), batch_size=None)


def _as_batch(wanted: list[tuple[int, int]]) -> SampleRequestBatch:
    user_ids, indices = torch.tensor(wanted).unbind(dim=1)
    return {"user_ids": user_ids, "indices": indices}


class SampleRequestDataModule(LightningDataModule):
    """Asks a trained generator for samples of chosen users.

    Args:
        user_ids: IDs as in the folder names; None asks for every user that training saw.
        samples_per_user: How many of each.
        batch_size: Samples per step; has no influence on a sample.
        output_dir: Folder for the samples. One that holds samples of other settings is refused.
    """

    def __init__(
        self,
        user_ids: list[int] | None = None,
        samples_per_user: int = 4,
        batch_size: int = 16,
        output_dir: str = "runs/dit_microdoppler/samples",
    ) -> None:
        super().__init__()
        if samples_per_user < 1 or batch_size < 1 or user_ids == []:
            remedy = "Ask for at least one user, one sample, and batches of at least one."
            raise InputError("--data", "asks for nothing", remedy)
        self.user_ids, self.samples_per_user, self.batch_size = user_ids, samples_per_user, batch_size
        self.output_dir = Path(output_dir)

    def predict_dataloader(self) -> DataLoader:
        """This process's batches of :class:`SampleRequestBatch`."""
        trainer: Any = self.trainer
        user_ids = self.user_ids
        if user_ids is None:
            # The checkpoint knows its users; it is restored before the loaders are made.
            user_ids = trainer.lightning_module.latent_space.user_ids.tolist()
        rank, world_size = trainer.global_rank, trainer.world_size
        return sample_request_loader(sorted(set(user_ids)), self.samples_per_user, self.batch_size, rank, world_size)
