"""Requests for samples to generate: users and numbers, cut into batches before they are shared among processes."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.microdoppler import SampleRequestBatch
from batches.trainer import process_of
from datamodules.loading import PrebatchedDataset, share_of
from formats.errors import InputError
from formats.latent_space import LatentSpace


def sample_name(user_id: int, index: int) -> str:
    """Return the file name of sample ``index`` (from 0) of a user; numbers in names start at 1."""
    return sample_pattern(user_id).replace("*", f"{index + 1:03d}")


def sample_pattern(user_id: int) -> str:
    """Return the glob pattern of the file names of a user's samples."""
    return f"micro_doppler_user{user_id:02d}_*.png"


def find_samples(samples_dir: str | Path, user_ids: list[int]) -> dict[int, list[Path]]:
    """List the generated images of each of these users who has any.

    Raises:
        InputError: The folder holds none.
    """
    found = {user: sorted(Path(samples_dir).glob(sample_pattern(user))) for user in user_ids}
    if not any(found.values()):
        remedy = "Generate some with configs/generate_microdoppler.yaml."
        raise InputError(samples_dir, "holds no samples of these users", remedy)
    return {user: paths for user, paths in found.items() if paths}


def sample_request_loader(
    user_ids: list[int], samples_per_user: int, batch_size: int, rank: int, world_size: int
) -> DataLoader[SampleRequestBatch]:
    """Return a loader of this process's batches of the requests for all users, user by user."""
    requests = [(user_id, index) for user_id in user_ids for index in range(samples_per_user)]
    batches = [requests[start : start + batch_size] for start in range(0, len(requests), batch_size)]
    return DataLoader(PrebatchedDataset(batches[rank::world_size], _as_batch), batch_size=None)


def _as_batch(requests: list[tuple[int, int]]) -> SampleRequestBatch:
    user_ids, indices = torch.tensor(requests).unbind(dim=1)
    return {"user_ids": user_ids, "indices": indices}


class SampleRequestDataModule(LightningDataModule):
    """Requests to a trained generator for samples of chosen users.

    Args:
        user_ids: IDs as in the folder names; None requests every user of the training data.
        samples_per_user: Samples of each user.
        batch_size: Samples per step. Affects samples only through rounding.
        output_dir: Folder for the samples. Samples of another guidance scale or number of steps get a folder in it; a
            folder with samples of other settings is refused.
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
            remedy = "Request at least one user, one sample, and batches of at least one."
            raise InputError("--data", "requests nothing", remedy)
        self.user_ids, self.samples_per_user, self.batch_size = user_ids, samples_per_user, batch_size
        self.output_dir = Path(output_dir)

    def predict_dataloader(self) -> DataLoader[SampleRequestBatch]:
        """Return a loader of this process's batches of :class:`SampleRequestBatch`."""
        rank, world_size = process_of(self.trainer)
        user_ids = self.user_ids
        if user_ids is None:  # those of the checkpoint, which is restored before the loaders are made
            user_ids = self._trained_users()
        users = sorted(set(user_ids))
        batches = -(-len(users) * self.samples_per_user // self.batch_size)
        share_of(range(batches), rank, world_size, "--data.samples_per_user")
        return sample_request_loader(users, self.samples_per_user, self.batch_size, rank, world_size)

    def _trained_users(self) -> list[int]:
        module = self.trainer.lightning_module if self.trainer else None
        space = getattr(module, "latent_space", None)
        if not isinstance(space, LatentSpace):
            fault = "is not set, and no checkpoint names the users"
            raise InputError("--data.user_ids", fault, "Name a training checkpoint with --ckpt_path.")
        return [int(user) for user in space.user_ids]
