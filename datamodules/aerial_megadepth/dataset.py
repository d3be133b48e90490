"""Dataset of AerialMegaDepth pairs, with augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from batches.pair import PairBatch
from datamodules.aerial_megadepth.transforms import View, change_colours, fit_view, flip_view, natural_aspect
from datamodules.aerial_megadepth.views import DEPTH_PERCENTILE, MAX_DEPTH, choose_views, read_view
from datamodules.loading import OnError
from datamodules.transforms import output_size
from formats.aerial_megadepth import ImageFiles, Split, image_files
from formats.errors import InputError
from formats.existing_files import ExistingFiles
from geometry.cameras import camera_to_world, unproject

Result = TypeVar("Result")


@dataclass(frozen=True)
class PairOptions:
    """Options for reading pairs; see :class:`datamodules.aerial_megadepth.AerialMegaDepthDataModule`."""

    image_size: int = 518
    aspect: float | None = None
    views: int = 2
    max_depth: float = MAX_DEPTH
    depth_percentile: float = DEPTH_PERCENTILE
    on_error: OnError = "raise"


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random augmentation; 0 and False disable each."""

    scale: float = 0.0
    colour: float = 0.0
    aspect: float = 0.0
    flip: bool = False
    seed: int = 0


class LoadedPairs(PairBatch):
    """A batch with its skipped samples, which the loader removes and logs.

    Attributes:
        faults: One line for each skipped sample.
    """

    faults: list[str]


class AerialMegaDepthDataset(Dataset[LoadedPairs]):
    """Samples of a split, read from files one batch at a time.

    All views of a batch have one size. Random draws depend on the seed, the epoch and the pair; the aspect of a
    batch depends on its first pair.

    Args:
        split: The pairs.
        root: Folder of the scenes.
        segmentation_root: Folder of the scenes' masks; None keeps the sky.
        options: Options for reading pairs.
        augmentation: Augmentation, for training.

    Raises:
        InputError: No pair of the split can be used; or a file is missing and errors are not skipped.
    """

    def __init__(
        self,
        split: Split,
        root: str | Path,
        segmentation_root: str | Path | None = None,
        options: PairOptions | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.split, self.root, self.segmentation_root = split, root, segmentation_root
        self.options, self.augmentation = options or PairOptions(), augmentation or Augmentation()
        # In shared memory, so that persistent workers see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.places, self.image_ids = choose_views(split, self.options.views)
        self.too_few_views = len(split) - len(self.places)
        self.left_out: list[str] = []  # one line for each pair with a missing file
        self._leave_out_incomplete()
        if not len(self.places):
            fault = f"has no pair with {self.options.views} usable views" if len(split) else "has no pairs"
            raise InputError(split.path, fault, "Check the split and the data folder, or ask for fewer --data.views.")

    def _leave_out_incomplete(self) -> None:
        existing = ExistingFiles()
        missing = {int(image): existing.missing(self._files(int(image)).all()) for image in np.unique(self.image_ids)}
        absent = [path for paths in missing.values() for path in paths]
        if not absent:
            return
        if self.options.on_error == "raise":
            more = (
                "" if len(absent) == 1 else f" (and {len(absent) - 1} more files of {self.split.path.name} are missing)"
            )
            remedy = "Complete the data, or pass --data.on_error skip."
            raise InputError(absent[0], f"no such file{more}", remedy)
        complete = np.array([not any(missing[int(image)] for image in row) for row in self.image_ids])
        for index in np.flatnonzero(~complete).tolist():
            first = next(path for image in self.image_ids[index] for path in missing[int(image)])
            self.left_out.append(f"{self.name(index)}: {first}: no such file")
        self.places, self.image_ids = self.places[complete], self.image_ids[complete]

    def __len__(self) -> int:
        return len(self.places)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random augmentation."""
        self._epoch.fill_(epoch)

    def name(self, index: int) -> str:
        """Return the name of a sample: the scene of its first image and the index of the pair in the split."""
        scene, _ = self.split.image(int(self.image_ids[index, 0]))
        return f"aerial_megadepth_{scene.replace('/', '_')}_{self.places[index]}"

    def files(self, index: int) -> list[ImageFiles]:
        """Return the files of a sample's views."""
        return [self._files(int(image)) for image in self.image_ids[index]]

    def _files(self, image_id: int) -> ImageFiles:
        return image_files(self.root, self.segmentation_root, *self.split.image(image_id))

    def __getitems__(self, indices: list[int]) -> LoadedPairs:
        """Return the batch of these indices; index −1 and skipped samples become rows of weight 0.

        Raises:
            InputError: A file is broken, and errors are not skipped.
        """
        faults: list[str] = []
        samples = [None if index < 0 else self._attempt(index, self._read, faults) for index in indices]
        height, width = output_size(self._aspect(samples, indices), self.options.image_size)

        def fitted(index: int, views: list[View]) -> list[View]:
            return self._attempt(index, lambda i: self._fit(i, views, height, width), faults) or []

        rows = [views and fitted(index, views) for index, views in zip(indices, samples, strict=True)]
        tensors = [_tensors(views) if views else _blank(self.options.views, height, width) for views in rows]
        images, depths, intrinsics, extrinsics = (torch.stack(parts) for parts in zip(*tensors, strict=True))
        cam_points = unproject(depths, intrinsics)
        return {
            "images": images,
            "depths": depths,
            "extrinsics": extrinsics,
            "intrinsics": intrinsics,
            "cam_points": cam_points,
            "world_points": camera_to_world(cam_points, extrinsics),
            "point_masks": depths > 0,
            "seq_name": ["" if index < 0 else self.name(index) for index in indices],
            "weights": torch.tensor([1.0 if views else 0.0 for views in rows]),
            "faults": faults,
        }

    def _attempt(self, index: int, make: Callable[[int], Result], faults: list[str]) -> Result | None:
        try:
            return make(index)
        except InputError as fault:
            if self.options.on_error == "raise":
                raise
            faults.append(f"{self.name(index)}: {fault}")
            return None

    def _read(self, index: int) -> list[View]:
        options = self.options
        return [read_view(files, options.max_depth, options.depth_percentile) for files in self.files(index)]

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.augmentation.seed, int(self._epoch), int(self.places[index]), purpose])

    def _aspect(self, samples: list[list[View] | None], indices: list[int]) -> float:
        natural = [log(natural_aspect(views)) for views in samples if views]
        aspect = self.options.aspect or exp(sum(natural) / max(1, len(natural)))
        reach = log(1 + self.augmentation.aspect)
        return aspect * exp(self._rng(max(indices[0], 0), 0).uniform(-reach, reach))

    def _fit(self, index: int, views: list[View], height: int, width: int) -> list[View]:
        rng, augmentation = self._rng(index, 1), self.augmentation
        if augmentation.flip and rng.random() < 0.5:
            views = [flip_view(view) for view in views]
        fitted = [fit_view(view, height, width, 1 - rng.uniform(0, augmentation.scale)) for view in views]
        for view, files in zip(fitted, self.files(index), strict=True):
            if not view.depth.any():
                remedy = "Remove the image from the split, or choose another --data.aspect."
                raise InputError(files.depth, "has no valid depth within the crop", remedy)
        if augmentation.colour:
            factors = rng.uniform(1 - augmentation.colour, 1 + augmentation.colour, (len(fitted), 3)).tolist()
            coloured = zip(fitted, factors, strict=True)
            fitted = [replace(view, image=change_colours(view.image, *factor)) for view, factor in coloured]
        return fitted


def _tensors(views: list[View]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images (V, 3, H, W), depths (V, H, W), intrinsics (V, 3, 3) and extrinsics (V, 3, 4), float32."""
    images = torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2).float() / 255
    depths = torch.from_numpy(np.stack([view.depth for view in views]))
    intrinsics = torch.from_numpy(np.stack([view.intrinsics for view in views])).float()
    extrinsics = torch.from_numpy(np.stack([view.extrinsics for view in views])).float()
    return images, depths, intrinsics, extrinsics


def _blank(views: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a row for weight 0: no valid depth, and cameras that give finite results."""
    intrinsics = torch.tensor([[width, 0.0, (width - 1) / 2], [0.0, width, (height - 1) / 2], [0.0, 0.0, 1.0]])
    extrinsics = torch.eye(3, 4)
    images, depths = torch.zeros(views, 3, height, width), torch.zeros(views, height, width)
    return images, depths, intrinsics.repeat(views, 1, 1), extrinsics.repeat(views, 1, 1)
