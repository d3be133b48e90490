"""Datamodule of images of a scene without depth or cameras, for prediction."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.pair import ImageViewsBatch
from batches.trainer import process_of
from datamodules.loading import PrebatchedDataset, share_of
from datamodules.transforms import PATCH_SIZE, centred_window, crop, output_size
from formats.errors import check_settings
from formats.images import distinct_names, find_images, read_rgb, resize_rgb
from formats.ranges import ABOVE_0, or_none


class PairFolderDataModule(LightningDataModule):
    """Load a pair of images, or a folder of them, as :class:`batches.pair.ImageViewsBatch` of one scene each.

    Images are cropped about their centre, which is assumed to be the principal point, to one aspect and resized so that
    the longer side is ``image_size`` and both sides are multiples of 14.

    Args:
        images: Files in the order of the views, or a folder, whose images are sorted by name.
        image_size: Longer side in pixels, a multiple of 14.
        aspect: Height over width; None chooses it for the images of a scene.
        views: Images per scene, taken consecutively; the last scene has the remainder. None puts all in one scene.
        num_workers: Number of processes that read files.
        output_dir: Folder for predictions.
    """

    def __init__(
        self,
        images: list[str] | str,
        image_size: int = 518,
        aspect: float | None = None,
        views: int | None = None,
        num_workers: int = 0,
        output_dir: str = "runs/pair_aerialmd/predictions",
    ) -> None:
        super().__init__()
        requirements = {
            "--data.image_size": (
                "a positive multiple of 14",
                image_size >= PATCH_SIZE and image_size % PATCH_SIZE == 0,
            ),
            "--data.views": ("null or at least 1", views is None or views >= 1),
            "--data.aspect": ("null or above 0", or_none(ABOVE_0).holds(aspect)),
            "--data.num_workers": ("at least 0", num_workers >= 0),
        }
        check_settings(requirements)
        self.images, self.image_size, self.aspect = images, image_size, aspect
        self.views, self.num_workers, self.output_dir = views, num_workers, output_dir
        self.scenes: list[list[Path]] = []

    def check_files(self, stage: str) -> None:
        """Check that there are images, before the model is built.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        self.setup(stage)

    def setup(self, stage: str) -> None:
        """List the images.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        paths = find_images(self.images, "--data.images")
        count = self.views or len(paths)
        self.scenes = [paths[start : start + count] for start in range(0, len(paths), count)]

    def predict_dataloader(self) -> DataLoader[ImageViewsBatch]:
        """Return this process's scenes, one per batch."""
        rank, world_size = process_of(self.trainer)
        numbers = share_of(range(len(self.scenes)), rank, world_size, "--data.images")
        return DataLoader(PrebatchedDataset(numbers, self._read), batch_size=None, num_workers=self.num_workers)

    def _read(self, number: int) -> ImageViewsBatch:
        paths = self.scenes[number]
        images = [read_rgb(path) for path in paths]
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        logs = [log(height / width) for height, width in sizes]
        height, width = output_size(self.aspect or exp((min(logs) + max(logs)) / 2), self.image_size)
        windows = [centred_window(size, ((size[1] - 1) / 2, (size[0] - 1) / 2), height / width) for size in sizes]
        resized = [
            resize_rgb(np.ascontiguousarray(crop(image, window)), height, width)
            for image, window in zip(images, windows, strict=True)
        ]
        return {
            "images": torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()[None] / 255,
            "names": [distinct_names(paths)],
            "original_sizes": torch.tensor([sizes]),
            "windows": torch.tensor([[[w.top, w.left, w.height, w.width] for w in windows]]),
            "seq_name": [f"{number:04d}_{paths[0].stem}"],
        }
