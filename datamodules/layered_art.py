"""Layered art: illustrations with the layer that painted each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from datamodules.content_check import check_some
from datamodules.layered_art_dataset import (
    ArtFile,
    LayerAugmentation,
    LayeredArtDataset,
    SplitName,
    first_samples,
    split_of,
)
from datamodules.loading import (
    OnError,
    ReportingLoader,
    ReportingTrainLoader,
    ResumableDataModule,
    ResumableLoader,
    evaluation_loader,
)
from formats.errors import InputError, check_settings
from formats.layered_art.base import LayeredArt
from formats.layered_art.layouts import Layout, open_layered_art

STAGE_SPLITS: dict[str, tuple[SplitName, ...]] = {"fit": ("train", "val"), "test": ("test",)}


class LayeredArtDataModule(ResumableDataModule):
    """Illustrations with their layer index as :class:`batches.layers.LayerBatch`.

    Images are stretched to a square with antialiasing, orders by the nearest pixel. The split of a sample depends only
    on the split's seed, its category and its name, so every category is split in about the same proportions, and adding
    files does not move existing samples to another split. A split without samples is refused. A dataset in the COCO
    layout keeps its own split, and uses its validation set for the test too.

    Augmentation is applied in training only, to image and orders alike; a crop keeps the number of layers of the whole
    image. It depends on the seed, the epoch and the sample, not on the number of workers or processes.

    Args:
        data_dir: Folder of a dataset, or several folders to train on together.
        val_data_dir: Folder or folders whose held-out samples are used for validation and test, for example to
            validate on real images while also training on simulated ones; None uses ``data_dir``. Folders named only
            here are not used for training.
        layout: Layout of the folders: ``pairs`` (``prepare layers``, ``prepare illustrations-sample``),
            ``parsed_dataset``, ``parquet`` (PrismLayersPro) or ``coco``; ``auto`` detects it.
        categories: Names of categories to use; None takes all.
        limit: Largest number of training samples of each folder, chosen by a hash of their names.
        val_limit: Largest number of samples of each folder in validation and test.
        image_size: Side of the square in pixels.
        batch_size: Images per process and step.
        val_share: Share of the samples for validation.
        test_share: Share of the samples for the test.
        split_seed: Seed of the splits.
        flip_augmentation: Mirror half of the images left to right.
        turn_augmentation: Rotate images by 0 to 3 quarter turns.
        crop_augmentation: Largest share of the sides that is cut off; at least two layers remain if possible.
        colour_augmentation: Brightness, contrast and saturation are each multiplied by a random factor between
            1 − x and 1 + x, where x is this value.
        on_error: ``raise`` stops at the first broken file. ``skip`` gives weight 0 to samples whose file is
            broken, and leaves out those whose file is missing; all are listed at the end of every epoch.
        num_workers: Number of processes that read files.
        seed: Seed of the order and the augmentation in training.
    """

    def __init__(
        self,
        data_dir: str | list[str] = "data/illustrations",
        val_data_dir: str | list[str] | None = None,
        layout: Layout = "auto",
        categories: list[str] | None = None,
        limit: int | None = None,
        val_limit: int | None = None,
        image_size: int = 1536,
        batch_size: int = 4,
        val_share: float = 0.05,
        test_share: float = 0.05,
        split_seed: int = 0,
        flip_augmentation: bool = False,
        turn_augmentation: bool = False,
        crop_augmentation: float = 0.0,
        colour_augmentation: float = 0.0,
        on_error: OnError = "raise",
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        roots, val_roots = _roots(data_dir), _roots(data_dir if val_data_dir is None else val_data_dir)
        requirements = {
            "--data.data_dir": ("one folder or more", bool(roots)),
            "--data.val_data_dir": ("null, or one folder or more", bool(val_roots)),
            "--data.categories": ("null, or name one or more", categories is None or bool(categories)),
            "--data.limit": ("null, or 1 or more", limit is None or limit >= 1),
            "--data.val_limit": ("null, or 1 or more", val_limit is None or val_limit >= 1),
            "--data.image_size": ("1 or more", image_size >= 1),
            "--data.batch_size": ("1 or more", batch_size >= 1),
            "--data.val_share": ("in 0…1", 0 <= val_share <= 1),
            "--data.test_share": ("at least 0, and below 1 with val_share", 0 <= test_share < 1 - val_share),
            "--data.crop_augmentation": ("at least 0 and below 1", 0 <= crop_augmentation < 1),
            "--data.colour_augmentation": ("in 0…1", 0 <= colour_augmentation <= 1),
            "--data.split_seed": ("0 or more", split_seed >= 0),
            "--data.num_workers": ("0 or more", num_workers >= 0),
            "--data.seed": ("0 or more", seed >= 0),
        }
        check_settings(requirements)
        self.roots, self.val_roots, self.layout = roots, val_roots, layout
        self.categories, self.limit, self.val_limit = categories, limit, val_limit
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.val_share, self.test_share, self.split_seed = val_share, test_share, split_seed
        self.on_error, self.seed = on_error, seed
        self.augmentation = LayerAugmentation(
            flip_augmentation, turn_augmentation, crop_augmentation, colour_augmentation, seed
        )
        self.datasets: dict[str, LayeredArtDataset] = {}
        self._opened: dict[Path, LayeredArt] = {}

    def check_files(self, stage: str) -> None:
        """Find the samples of the splits that the stage needs, before the model is built.

        Raises:
            InputError: A folder is missing or has no known layout, or a split is empty.
        """
        for split in STAGE_SPLITS.get(stage, ("val",)):
            self._files(split)

    def setup(self, stage: str) -> None:
        """List the samples of the splits that the stage needs, and check that their files exist.

        Raises:
            InputError: A folder is missing or has no known layout, a file is missing, a split is empty, or one of two
                samples of each split cannot be read.
        """
        for split in STAGE_SPLITS.get(stage, ("val",)):
            if split not in self.datasets:
                augmentation = self.augmentation if split == "train" else None
                files = self._files(split)
                self.datasets[split] = LayeredArtDataset(files, self.image_size, augmentation, self.on_error)
                check_some(self.datasets[split], self.samples_to_check)

    def _files(self, split: SplitName) -> list[ArtFile]:
        roots, limit = (self.roots, self.limit) if split == "train" else (self.val_roots, self.val_limit)
        arts = [self._art(root) for root in roots]
        chosen = [
            [
                ArtFile(art, sample)
                for sample in art.samples
                if (self.categories is None or sample.category in self.categories)
                and split in split_of(sample, self.val_share, self.test_share, self.split_seed)
            ]
            for art in arts
        ]
        files = [file for part in chosen for file in first_samples(part, limit, self.split_seed)]
        if files:
            return files
        where = ", ".join(str(root) for root in roots)
        found = sorted({sample.category for art in arts for sample in art.samples})
        if self.categories is not None and not set(found) & set(self.categories):
            fault = f"has none of the categories {', '.join(self.categories)}"
            raise InputError(where, fault, f"It has {', '.join(found)}; choose with --data.categories.")
        count = sum(len(art.samples) for art in arts)
        share = "" if split == "train" else f"a larger --data.{split}_share, "
        remedy = f"Give {share}another --data.split_seed, or more images."
        raise InputError(where, f"none of its {count} samples falls into the split '{split}'", remedy)

    def _art(self, root: Path) -> LayeredArt:
        if root not in self._opened:
            self._opened[root] = open_layered_art(root, self.layout)
        return self._opened[root]

    def train_dataloader(self) -> ResumableLoader:
        """Return :class:`batches.layers.LayerBatch` in a random order that depends on the seed and the epoch."""
        return self.resumable_loader(
            self.datasets["train"], self.batch_size, self.seed, self.num_workers, ReportingTrainLoader
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return every validation sample once, in order."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return every test sample once, in order."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: SplitName) -> DataLoader[Any]:
        return evaluation_loader(
            self.datasets[split], self.batch_size, *self.process(), self.num_workers, ReportingLoader
        )


def _roots(folders: str | Sequence[str]) -> list[Path]:
    return [Path(folder) for folder in ([folders] if isinstance(folders, str) else folders)]
