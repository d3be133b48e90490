"""Spectrogram images in one folder per user, and their extraction to latents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from batches.microdoppler import ExtractionBatch, SpectrogramBatch
from batches.trainer import process_of
from datamodules.loading import PrebatchedDataset
from datamodules.spectrogram_folders import LAYOUT, TRAIN_SHARE, SpectrogramFile, SpectrogramFolder, read_folder
from formats.errors import InputError, check_settings
from formats.images import image_kind, pad_to_square, read_rgb, resize_rgb
from formats.latent_shards import shard_names
from formats.spectrogram_axes import SpectrogramAxes

Resize = bool | Literal["squeeze", "pad"]
KIND_NOTES = ("grey becomes three equal channels", "16 bits are reduced to 8", "alpha is dropped")
MAX_IMAGES_LOOKED_AT = 256  # of a split, when the folder is described


def find_spectrograms(data_dir: str | Path, split: str, train_share: float = TRAIN_SHARE) -> list[SpectrogramFile]:
    """List a split's images by user and name; see :func:`datamodules.spectrogram_folders.read_folder`.

    Raises:
        InputError: The folder is missing, or holds no images of that split.
    """
    root = require_folder(Path(data_dir))
    return _split_of(read_folder(root, train_share, (split,)), root, split)


def _split_of(folder: SpectrogramFolder, root: Path, split: str) -> list[SpectrogramFile]:
    files = folder.files.get(split)
    if not files:
        raise InputError(root, f"no images of split '{split}' were found in folders ID_<n>", LAYOUT)
    return files


def require_folder(root: Path, option: str = "--data.data_dir") -> Path:
    """Check that the folder of spectrograms exists.

    Args:
        root: The folder.
        option: Option that names it, for the error.

    Raises:
        InputError: It does not.
    """
    if not root.is_dir():
        raise InputError(
            root,
            "no such folder",
            "Make sample data with `python cli.py prepare microdoppler-sample --out data/microdoppler`, or name "
            f"your own folder with {option}.",
        )
    return root


class SpectrogramDataset(Dataset[SpectrogramBatch]):
    """Spectrograms read from files, one batch at a time.

    Args:
        files: The images.
        image_size: Side in pixels.
        resize: Resize images of another size, which are refused otherwise: ``squeeze`` (or True) changes their aspect
            to a square, ``pad`` surrounds them with their median colour.
    """

    def __init__(self, files: list[SpectrogramFile], image_size: int = 256, resize: Resize = False) -> None:
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
            self.check_size(index, image.shape[1], image.shape[0])
            image = pad_to_square(image) if self.resize == "pad" else image
            image = resize_rgb(image, side, side)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

    def check_size(self, index: int, width: int, height: int) -> None:
        """Check the size of image ``index``.

        Raises:
            InputError: It has another size and ``resize`` is off.
        """
        side = self.image_size
        if self.resize or (width, height) == (side, side):
            return
        fault = f"is {width}×{height} pixels, not {side}×{side}"
        remedy = "Pass --data.resize true, or the dataset's own size with --data.image_size."
        if width != height:
            remedy = "Pass --data.resize squeeze to change its aspect to a square, or --data.resize pad to fill it up."
        raise InputError(self.files[index].path, fault, remedy)

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
        data_dir: Folder with ``train/ID_<n>/*.png`` and ``val/ID_<n>/*.png`` (or ``ID_<n>/train/``); or a folder per
            user of any name, with or without splits; or images that ``users.csv`` in it assigns to users.
        output_dir: Folder for the latents. Shards that exist are not made again.
        splits: Names of the splits.
        split: Share of each user's recordings for training, where the folder has no splits; of the images, where their
            names do not tell recordings.
        batch_size: Images per step. The last bits of a latent depend on it, and on the machine.
        shard_size: Images per shard, and the largest number of latents held in memory.
        image_size: Side of the images in pixels.
        resize: Resize images of another size, which are refused otherwise: ``squeeze`` (or true) changes their aspect
            to a square, ``pad`` surrounds them with their median colour.
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
        resize: Resize = False,
        num_workers: int = 2,
        imagenet_statistics: str | None = None,
        split: float = TRAIN_SHARE,
    ) -> None:
        super().__init__()
        requirements = {
            "--data.splits": ("one split or more", bool(splits)),
            "--data.batch_size": ("at least 1", batch_size >= 1),
            "--data.shard_size": ("at least 1", shard_size >= 1),
            "--data.image_size": ("at least 1", image_size >= 1),
            "--data.num_workers": ("at least 0", num_workers >= 0),
            "--data.split": ("above 0 and below 1", 0 < split < 1),
        }
        check_settings(requirements)
        self.train_share = split
        self.data_dir, self.output_dir = Path(data_dir), Path(output_dir)
        self.splits, self.batch_size, self.shard_size = splits, batch_size, shard_size
        self.image_size, self.resize, self.num_workers = image_size, resize, num_workers
        self.imagenet_statistics = imagenet_statistics
        self.datasets: dict[str, SpectrogramDataset] = {}

    def setup(self, stage: str) -> None:
        """List the images of every split, and say what is done with those of another kind.

        Raises:
            InputError: A folder is missing or empty, or one of 256 images of each split has another size.
        """
        if self.datasets:
            return
        folder = read_folder(require_folder(self.data_dir), self.train_share, self.splits)
        for split in self.splits:
            files = _split_of(folder, self.data_dir, split)
            self.datasets[split] = SpectrogramDataset(files, self.image_size, self.resize)
        if self.resize == "pad" and SpectrogramAxes.read(self.data_dir) is not None:
            remedy = "Take away axes.json, or pass --data.resize squeeze."
            raise InputError("--data.resize", "pad would move the axes in axes.json of these images", remedy)
        notes = describe(folder, list(self.datasets.values()))
        if notes:
            rank_zero_info(f"{self.data_dir}: {'; '.join(notes)}")

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


def describe(folder: SpectrogramFolder, datasets: Sequence[SpectrogramDataset]) -> list[str]:
    """Return what is done with a folder that is not in the published layout, and with images of another kind.

    Args:
        folder: The folder.
        datasets: Its splits, of whose images at most 256 each are looked at.

    Raises:
        InputError: An image has another size, and is not to be resized.
    """
    kinds: set[str] = set()
    for dataset in datasets:
        count = min(MAX_IMAGES_LOOKED_AT, len(dataset))
        for index in sorted(set(torch.linspace(0, len(dataset) - 1, count).round().int().tolist())):
            kind = image_kind(dataset.files[index].path)
            if kind is None:  # named when it is read
                continue
            dataset.check_size(index, kind.width, kind.height)
            if (kind.width, kind.height) != (dataset.image_size, dataset.image_size):
                is_padded = dataset.resize == "pad" and kind.width != kind.height
                how = "padded to a square and resized" if is_padded else "resized"
                if kind.width != kind.height and not is_padded:
                    how = "squeezed"
                kinds.add(f"{kind.width}×{kind.height} is {how} to {dataset.image_size}×{dataset.image_size}")
            kinds |= {note for is_so, note in zip(kind[2:], KIND_NOTES, strict=True) if is_so}
    users = ", ".join(f"{name} = {number}" for name, number in folder.names.items())
    sizes = sorted(note for note in kinds if note not in KIND_NOTES)
    more = f"{len(sizes) - 1} other sizes likewise" if len(sizes) > 1 else ""
    others = [note for note in KIND_NOTES if note in kinds]
    return [note for note in (f"users {users}" if users else "", folder.how, *sizes[:1], more, *others) if note]
