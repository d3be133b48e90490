"""Spectrogram images in one folder per user, and their extraction to latents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from batches.microdoppler import ExtractionBatch, SpectrogramBatch
from batches.trainer import process_of
from datamodules.loading import PrebatchedDataset
from formats.errors import InputError, check_settings
from formats.images import SUFFIXES, read_rgb, resize_rgb
from formats.latent_shards import shard_names

USER_FOLDER = re.compile(r"ID[_-]?0*(\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class SpectrogramFile:
    """An image file and its user."""

    path: Path
    user_id: int


def user_folders(root: Path, split: str) -> list[tuple[int, Path]]:
    """List the user IDs and folders ``<split>/ID_<n>/`` or ``ID_<n>/<split>/``, by ID."""
    folders = []
    for folder in [*root.glob(f"{split}/*"), *root.glob(f"*/{split}")]:
        named = folder if folder.parent.name == split else folder.parent
        match = USER_FOLDER.match(named.name)
        if match and folder.is_dir():
            folders.append((int(match[1]), folder))
    return sorted(folders)


def find_spectrograms(data_dir: str | Path, split: str) -> list[SpectrogramFile]:
    """List a split's images by user and name, from ``<split>/ID_<n>/`` or ``ID_<n>/<split>/``.

    Raises:
        InputError: The folder is missing, or holds no images of that split.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise InputError(
            root,
            "no such folder",
            "Make sample data with `python cli.py prepare microdoppler-sample --out data/microdoppler`, or name "
            "your own folder with --data.data_dir.",
        )
    files = [
        SpectrogramFile(path, user_id)
        for user_id, folder in user_folders(root, split)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        layout = f"Expected {split}/ID_<n>/*.png or ID_<n>/{split}/*.png."
        raise InputError(root, f"no images of split '{split}' were found in folders ID_<n>", layout)
    return files


class SpectrogramDataset(Dataset[SpectrogramBatch]):
    """Spectrograms read from files, one batch at a time.

    Args:
        files: The images.
        image_size: Side in pixels.
        resize: Resize images of another size, which are refused otherwise.
    """

    def __init__(self, files: list[SpectrogramFile], image_size: int = 256, resize: bool = False) -> None:
        self.files, self.image_size, self.resize = files, image_size, resize

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> Tensor:
        """Read image ``index`` as (3, H, W) uint8.

        Raises:
            InputError: The file cannot be read, or has another size and ``resize`` is off.
        """
        image, side = read_rgb(self.files[index].path), self.image_size
        if image.shape[:2] != (side, side):
            if not self.resize:
                fault = f"is {image.shape[1]}×{image.shape[0]} pixels, not {side}×{side}"
                remedy = "Pass --data.resize true, or the dataset's own size with --data.image_size."
                raise InputError(self.files[index].path, fault, remedy)
            image = resize_rgb(image, side, side)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

    def __getitems__(self, indices: list[int]) -> SpectrogramBatch:
        """Return the batch of these indices; index −1 gives a padding row of weight 0."""
        return {
            "images": torch.stack([self.read(max(index, 0)) for index in indices]),
            "user_ids": torch.tensor([self.files[max(index, 0)].user_id for index in indices]),
            "weights": torch.tensor([float(index >= 0) for index in indices]),
        }


@dataclass(frozen=True)
class _ShardPart:
    """Position of one batch: its shard, and its images in the split."""

    split: str
    shard: str
    shard_size: int
    start: int
    stop: int


class SpectrogramDataModule(LightningDataModule):
    """Spectrograms to be turned into latents, batch by batch of the shards that will hold them.

    Args:
        data_dir: Folder with ``train/ID_<n>/*.png`` and ``val/ID_<n>/*.png`` (or ``ID_<n>/train/``).
        output_dir: Folder for the latents. Shards that exist are not made again.
        splits: Names of the splits.
        batch_size: Images per step. The last bits of a latent depend on it, and on the machine.
        shard_size: Images per shard, and the largest number of latents held in memory.
        image_size: Side of the images in pixels.
        resize: Resize images of another size, which are refused otherwise.
        num_workers: Processes that read images.
        imagenet_statistics: ImageNet's latent statistics for the same tokenizer, to compare with and to copy
            next to the latents. None looks for ``latents_stats.pt`` next to a published tokenizer.
    """

    def __init__(
        self,
        data_dir: str = "data/microdoppler",
        output_dir: str = "data/microdoppler_latents",
        splits: tuple[str, ...] = ("train", "val"),
        batch_size: int = 32,
        shard_size: int = 2048,
        image_size: int = 256,
        resize: bool = False,
        num_workers: int = 2,
        imagenet_statistics: str | None = None,
    ) -> None:
        super().__init__()
        requirements = {
            "--data.splits": ("one split or more", bool(splits)),
            "--data.batch_size": ("at least 1", batch_size >= 1),
            "--data.shard_size": ("at least 1", shard_size >= 1),
            "--data.image_size": ("at least 1", image_size >= 1),
            "--data.num_workers": ("at least 0", num_workers >= 0),
        }
        check_settings(requirements)
        self.data_dir, self.output_dir = Path(data_dir), Path(output_dir)
        self.splits, self.batch_size, self.shard_size = splits, batch_size, shard_size
        self.image_size, self.resize, self.num_workers = image_size, resize, num_workers
        self.imagenet_statistics = imagenet_statistics
        self.datasets: dict[str, SpectrogramDataset] = {}

    def setup(self, stage: str) -> None:
        """List the images of every split.

        Raises:
            InputError: A folder is missing or empty.
        """
        if not self.datasets:
            for split in self.splits:
                files = find_spectrograms(self.data_dir, split)
                self.datasets[split] = SpectrogramDataset(files, self.image_size, self.resize)

    def shards(self, split: str) -> list[str]:
        """Return the file names of the shards of ``split``."""
        return shard_names(split, -(-len(self.datasets[split]) // self.shard_size))

    def names(self, split: str) -> list[str]:
        """Return the split's images in order, as paths relative to the data folder."""
        return [file.path.relative_to(self.data_dir).as_posix() for file in self.datasets[split].files]

    def digest(self) -> str:
        """Return a hash of all names and file sizes; a repeated extraction must find the same."""
        listing = hashlib.sha256()
        for split, dataset in self.datasets.items():
            for name, file in zip(self.names(split), dataset.files, strict=True):
                listing.update(f"{split} {name} {file.path.stat().st_size}\n".encode())
        return listing.hexdigest()

    def training_images(self, limit: int = 4096) -> Iterator[Tensor]:
        """Yield batches (B, 3, H, W) uint8 of at most ``limit`` training images, evenly spread over the users."""
        dataset = self.datasets[self.splits[0]]
        chosen = torch.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().long().tolist()
        for start in range(0, len(chosen), self.batch_size):
            yield torch.stack([dataset.read(index) for index in chosen[start : start + self.batch_size]])

    def predict_dataloader(self) -> DataLoader[ExtractionBatch]:
        """Return a loader of this process's share: every n-th shard of n processes, without those already written."""
        rank, world_size = process_of(self.trainer)
        plan = [(split, number, shard) for split in self.splits for number, shard in enumerate(self.shards(split))]
        parts = []
        for split, number, shard in plan[rank::world_size]:
            first = number * self.shard_size
            last = min(first + self.shard_size, len(self.datasets[split]))
            if not (self.output_dir / shard).is_file():
                parts += [
                    _ShardPart(split, shard, last - first, start, min(start + self.batch_size, last))
                    for start in range(first, last, self.batch_size)
                ]
        return DataLoader(PrebatchedDataset(parts, self._load), batch_size=None, num_workers=self.num_workers)

    def _load(self, part: _ShardPart) -> ExtractionBatch:
        dataset, indices = self.datasets[part.split], list(range(part.start, part.stop))
        batch = dataset.__getitems__(indices)
        return {
            "images": batch["images"],
            "user_ids": batch["user_ids"],
            "names": [dataset.files[i].path.relative_to(self.data_dir).as_posix() for i in indices],
            "shard": part.shard,
            "shard_size": part.shard_size,
        }
