"""Plain images of a scene, for prediction where there is neither depth nor camera."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from batches.pair import ImageViewsBatch
from datamodules.loading import ReportingLoader, WholeBatches, readable_error
from datamodules.pair_transforms import PATCH, Window, centred_window, output_size
from formats.errors import InputError
from formats.images import distinct_names, find_images, read_rgb, resize_rgb


class PairFolderDataModule(LightningDataModule):
    """A pair of images, or a folder of them, as :class:`batches.pair.ImageViewsBatch` of one scene each.

    Images are cut about their middle, which is taken for the principal point, to one aspect, and resized so that
    the longer side is ``image_size`` and both are multiples of 14.

    Args:
        images: Files in the order of the views, or a folder, of which all images are taken by name.
        image_size: Longer side in pixels, a multiple of 14.
        aspect: Height over width; None suits it to the images of a scene.
        views: Images per scene, one after the other; the last scene has what is left. None puts all in one.
        num_workers: Processes that read files.
        output_dir: Folder for what is predicted.
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
        if image_size < PATCH or image_size % PATCH:
            raise InputError("--data.image_size", f"{image_size} is no positive multiple of 14", "Try 518.")
        if (views is not None and views < 1) or (aspect is not None and aspect <= 0):
            raise InputError("--data", "views must be 1 or more, and aspect over 0", "Choose other values, or null.")
        self.images, self.image_size, self.aspect = images, image_size, aspect
        self.views, self.num_workers, self.output_dir = views, num_workers, output_dir
        self.scenes: list[list[Path]] = []

    def setup(self, stage: str) -> None:
        """List the images.

        Raises:
            InputError: A file or the folder is missing, or there are no images.
        """
        paths = find_images(self.images, "--data.images")
        count = self.views or len(paths)
        self.scenes = [paths[start : start + count] for start in range(0, len(paths), count)]

    def predict_dataloader(self) -> DataLoader:
        """This process's scenes, one to a batch."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        numbers = range(rank, len(self.scenes), world_size)
        return ReportingLoader(WholeBatches(numbers, self._load), batch_size=None, num_workers=self.num_workers)

    def _load(self, number: int) -> ImageViewsBatch | InputError:
        return readable_error(lambda: self._read(number))

    def _read(self, number: int) -> ImageViewsBatch:
        paths = self.scenes[number]
        images = [read_rgb(path) for path in paths]
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        logs = [log(height / width) for height, width in sizes]
        height, width = output_size(self.aspect or exp((min(logs) + max(logs)) / 2), self.image_size)
        windows = [centred_window(size, ((size[1] - 1) / 2, (size[0] - 1) / 2), height / width) for size in sizes]
        shown = [
            resize_rgb(np.ascontiguousarray(_cut(image, window)), height, width)
            for image, window in zip(images, windows, strict=True)
        ]
        return {
            "images": torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float()[None] / 255,
            "names": [distinct_names(paths)],
            "original_sizes": torch.tensor([sizes]),
            "windows": torch.tensor([[[w.top, w.left, w.height, w.width] for w in windows]]),
            "seq_name": [f"{number:04d}_{paths[0].stem}"],
        }


def _cut(image: np.ndarray, window: Window) -> np.ndarray:
    return image[window.top : window.top + window.height, window.left : window.left + window.width]
