"""Latents of spectrograms for training and validation, and the images that a test compares with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from batches.microdoppler import LatentBatch
from datamodules.content_check import check_some
from datamodules.loading import ResumableDataModule, ResumableLoader, evaluation_loader
from datamodules.sample_requests import sample_request_loader
from datamodules.spectrogram_folders import TRAIN_SHARE
from datamodules.spectrograms import Resize, SpectrogramDataset, find_spectrograms, require_folder
from formats.errors import InputError, check_settings
from formats.hub_files import is_hub_name
from formats.latent_shards import (
    IMAGENET_STATISTICS,
    STATISTICS,
    ExtractionRecord,
    LatentShard,
    LatentStatistics,
    find_shards,
    open_shard,
)
from formats.latent_space import LatentSpace
from formats.latent_statistics import measure_statistics, read_or_measure, recommended
from formats.ranges import ABOVE_0
from formats.spectrogram_axes import SpectrogramAxes

StatisticsPolicy = Literal["auto", "dataset", "imagenet", "none"]


class LatentDataset(Dataset[LatentBatch]):
    """Memory-mapped shards as one sequence; a batch takes its rows from each shard in one indexing operation.

    Args:
        shards: Shards in order.
        user_ids: Ascending IDs; the position of a label in them is its class.
        flip: Also return the flipped latents.
    """

    def __init__(self, shards: list[LatentShard], user_ids: Tensor, flip: bool = False) -> None:
        self.shards, self.flip = shards, flip
        self.starts = torch.tensor([0, *(len(shard.latents) for shard in shards)]).cumsum(0)
        self.number_users(user_ids)

    def number_users(self, user_ids: Tensor) -> None:
        """Number the classes by ascending IDs (K,), among them all of the dataset's."""
        self.classes = torch.searchsorted(user_ids, torch.cat([shard.labels for shard in self.shards]))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitems__(self, indices: list[int]) -> LatentBatch:
        """Return the batch of these indices; index −1 gives a padding row of weight 0."""
        requested = torch.tensor(indices)
        index = requested.clamp_min(0)
        batch: LatentBatch = {
            "latents": self._gather([shard.latents for shard in self.shards], index),
            "classes": self.classes[index],
            "indices": index,
            "names": self.names(index),
            "weights": (requested >= 0).float(),
        }
        if self.flip:
            flipped = [shard.latents_flip for shard in self.shards if shard.latents_flip is not None]
            batch["latents_flip"] = self._gather(flipped, index)
        return batch

    def names(self, index: Tensor) -> list[str]:
        """Return the file and row of latents (B,)."""
        numbers = torch.searchsorted(self.starts, index, right=True) - 1
        pairs = zip(numbers.tolist(), (index - self.starts[numbers]).tolist(), strict=True)
        return [f"{self.shards[shard].path.name} row {row}" for shard, row in pairs]

    def _gather(self, sources: list[Tensor], index: Tensor) -> Tensor:
        shard = torch.searchsorted(self.starts, index, right=True) - 1
        present = shard.unique().tolist()
        if len(present) == 1:
            rows: Tensor = sources[present[0]][index - self.starts[present[0]]]
            return rows.float()
        out = torch.empty(len(index), *sources[0].shape[1:])
        for number in present:
            positions = (shard == number).nonzero().flatten()
            out[positions] = sources[number][index[positions] - self.starts[number]].float()
        return out


class LatentDataModule(ResumableDataModule):
    """Latents made by ``configs/microdoppler_extract_latents.yaml``, or published shards.

    Args:
        data_dir: Folder with ``train*.safetensors`` and ``val*.safetensors``.
        batch_size: Latents per process and step.
        statistics: ``dataset``: the mean and std of ``latents_stats.pt``, which is written if missing; ``imagenet``:
            those of ``latents_stats_imagenet.pt``; ``auto``: those recommended in ``stats_recommendation.txt``;
            ``none``: 0 and 1, so that the network sees the tokenizer's own latents.
        multiplier: Factor after normalising.
        flip: Flip half of the latents left to right in training. That reverses time on a spectrogram, so it
            is off; it needs shards extracted with ``--model.flip true``.
        images_dir: Folder of the spectrograms that a test compares with; None uses the one on record.
        samples_per_user: Spectrograms that a test generates for each user.
        num_workers: Worker processes; 0 is fastest, as a batch is one copy out of mapped memory.
        seed: Seed of the order in training.
    """

    samples_to_check = 64

    def __init__(
        self,
        data_dir: str = "data/microdoppler_latents",
        batch_size: int = 32,
        statistics: StatisticsPolicy = "auto",
        multiplier: float = 1.0,
        flip: bool = False,
        images_dir: str | None = None,
        samples_per_user: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        requirements = {
            "--data.batch_size": ("at least 1", batch_size >= 1),
            "--data.multiplier": ("above 0", ABOVE_0.holds(multiplier)),
            "--data.samples_per_user": ("at least 2", samples_per_user >= 2),
            "--data.num_workers": ("at least 0", num_workers >= 0),
            "--data.seed": ("at least 0", seed >= 0),
        }
        check_settings(requirements)
        self.data_dir, self.images_dir = Path(data_dir), images_dir
        self.batch_size, self.statistics, self.multiplier = batch_size, statistics, multiplier
        self.flip, self.samples_per_user = flip, samples_per_user
        self.num_workers, self.seed = num_workers, seed
        self.datasets: dict[str, LatentDataset] = {}

    def check_files(self, stage: str) -> None:
        """Check that the shards exist, and the images of a test, before the model is built.

        Raises:
            InputError: A file is missing.
        """
        for split in ("train", "val"):
            find_shards(self.data_dir, split)
        if stage == "test":
            self._images_to_compare_with()

    def prepare_data(self) -> None:
        """Write statistics that are missing.

        Raises:
            InputError: A file of latents is missing.
        """
        self.check_files("fit")
        path = self.data_dir / STATISTICS
        if self.statistics in ("auto", "dataset") and not path.exists():
            own = measure_statistics(self.data_dir)
            try:
                own.write(path)
                rank_zero_info(f"{path}: was missing, and has been measured and written")
            except OSError as fault:  # a folder that cannot be written; every process measures
                rank_zero_info(f"{path}: was missing; measured, but not written: {fault}")

    def setup(self, stage: str) -> None:
        """Map the shards and determine users and statistics.

        Raises:
            InputError: A file is missing or broken, shapes differ, validation holds unknown users, or one of 64 latents
                of each split is not finite.
        """
        if self.datasets:
            return
        shards = {split: [open_shard(path) for path in find_shards(self.data_dir, split)] for split in ("train", "val")}
        shape = shards["train"][0].latents.shape[1:]
        for shard in [*shards["train"], *shards["val"]]:
            if shard.latents.shape[1:] != shape:
                fault = f"has latents of shape {tuple(shard.latents.shape[1:])}, but others have {tuple(shape)}"
                raise InputError(shard.path, fault, "Extract all splits with one tokenizer.")
            if self.flip and shard.latents_flip is None:
                remedy = "Extract again with --model.flip true, or leave --data.flip off."
                raise InputError(shard.path, "has no 'latents_flip'", remedy)
        user_ids = torch.cat([shard.labels for shard in shards["train"]]).unique()
        for shard in shards["val"]:
            unknown = sorted(set(shard.labels.unique().tolist()) - set(user_ids.tolist()))
            if unknown:
                remedy = "Move them to the training split, or remove them."
                raise InputError(shard.path, f"holds users {unknown} that are not in the training split", remedy)
        self.latent_shape = tuple(shape)
        self.latent_space = self._latent_space(user_ids, int(shape[0]))
        self.datasets["train"] = LatentDataset(shards["train"], user_ids, self.flip)
        self.datasets["val"] = LatentDataset(shards["val"], user_ids)
        for dataset in self.datasets.values():
            check_some(dataset, self.samples_to_check)

    def _latent_space(self, user_ids: Tensor, channels: int) -> LatentSpace:
        policy = recommended(self.data_dir, channels) if self.statistics == "auto" else self.statistics
        if policy == "none":
            chosen = LatentStatistics(torch.zeros(channels), torch.ones(channels))
        elif policy == "imagenet":
            chosen = LatentStatistics.read(self.data_dir / IMAGENET_STATISTICS, channels)
        else:
            chosen = read_or_measure(self.data_dir, channels)
        record = ExtractionRecord.read(self.data_dir)
        tokenizer = record.tokenizer if record else ""
        if tokenizer and not is_hub_name(tokenizer):
            tokenizer = str((self.data_dir / tokenizer).resolve())
        fingerprint = record.tokenizer_fingerprint if record else ""
        axes = SpectrogramAxes.read(self.data_dir)
        return LatentSpace(chosen, policy, self.multiplier, user_ids, tokenizer, fingerprint, axes)

    def number_users(self, user_ids: Tensor) -> None:
        """Number the classes by the users (K,) of a model, which may know more than the data holds."""
        for dataset in self.datasets.values():
            dataset.number_users(user_ids)

    def train_latents(self, limit: int = 1024) -> tuple[Tensor, Tensor]:
        """Return training latents (N, C, H, W), at most ``limit`` of each user, and their classes (N,)."""
        dataset = self.datasets["train"]
        rows = torch.cat([(dataset.classes == label).nonzero()[:limit, 0] for label in dataset.classes.unique()])
        batch = dataset.__getitems__(rows.tolist())
        return batch["latents"], batch["classes"]

    def train_dataloader(self) -> ResumableLoader:
        """Return a loader of :class:`LatentBatch` in an order drawn from seed and epoch."""
        return self.resumable_loader(self.datasets["train"], self.batch_size, self.seed, self.num_workers)

    def val_dataloader(self) -> DataLoader[LatentBatch]:
        """Return a loader of every validation latent once, in order."""
        return evaluation_loader(self.datasets["val"], self.batch_size, *self.process(), self.num_workers)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return loaders of real training images, real validation images, and requests for generated ones.

        Raises:
            InputError: The folder of images is unknown or missing.
        """
        folder, record = self._images_to_compare_with()
        side = 256 if record is None else record.image_size
        resize: Resize = "squeeze" if record is None else record.resize
        share = TRAIN_SHARE if record is None else record.train_share
        rank, world_size = self.process()
        loaders = [
            evaluation_loader(
                SpectrogramDataset(find_spectrograms(folder, split, share), side, resize),
                self.batch_size,
                rank,
                world_size,
                num_workers=2,
            )
            for split in ("train", "val")
        ]
        users = self.latent_space.user_ids.tolist()
        requests = sample_request_loader(users, self.samples_per_user, self.batch_size, rank, world_size)
        return [*loaders, requests]

    def _images_to_compare_with(self) -> tuple[Path, ExtractionRecord | None]:
        """Return the folder of images for a test, and the record of the extraction.

        Raises:
            InputError: The folder is unknown or missing.
        """
        record = ExtractionRecord.read(self.data_dir)
        folder = self.images_dir or (record.images_dir if record else None)
        if folder is None:
            remedy = "Name the folder of spectrograms with --data.images_dir."
            raise InputError(self.data_dir, "does not say which images it was made from", remedy)
        return require_folder(Path(folder), "--data.images_dir"), record
