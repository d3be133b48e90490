"""Datamodule of AerialMegaDepth pairs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from datamodules.aerial_megadepth.dataset import AerialMegaDepthDataset, Augmentation, PairOptions
from datamodules.aerial_megadepth.views import DEPTH_PERCENTILE, MAX_DEPTH
from datamodules.content_check import check_some
from datamodules.loading import (
    OnError,
    PrebatchedDataset,
    ReportingLoader,
    ReportingTrainLoader,
    ResumableDataModule,
    ResumableLoader,
    evaluation_loader,
    share_of,
)
from datamodules.transforms import PATCH_SIZE
from formats.aerial_megadepth import read_split
from formats.errors import InputError, check_settings
from formats.ranges import ABOVE_0, AT_LEAST_0, or_none

logger = logging.getLogger(__name__)


class AerialMegaDepthDataModule(ResumableDataModule):
    """Load pairs of an AerialMegaDepth dataset as :class:`batches.pair.PairBatch`.

    Every view is cropped about its principal point to one aspect and resized, so that the longer side is
    ``image_size`` and both sides are multiples of 14. Depth is cleaned first: values over ``max_depth``, then the
    sky, then outliers become 0. Augmentation applies to training only; its random draws depend on the seed, the epoch
    and the pair, not on workers or processes.

    Args:
        data_dir: Folder of the splits and the scenes.
        segmentation_dir: Folder of the scenes' ADE20k masks; None keeps the sky.
        train_split: Split file for training, in ``data_dir``.
        val_split: Split file for validation, test and prediction, in ``data_dir``.
        batch_size: Pairs per process and step.
        image_size: Longer side in pixels, a multiple of 14.
        aspect: Height over width of all views. None chooses it for the pair, or for all pairs of a batch, so that
            with a ``batch_size`` over 1 the crop of a pair depends on the other pairs of its batch.
        views: Images per sample. Above 2, further images of the same scene that overlap with the pair are added;
            pairs with too few such images are left out and counted.
        max_depth: Maximum depth in metres.
        depth_percentile: Depths above this percentile of an image are outliers; 100 keeps all.
        scale_augmentation: Largest share by which the sides of a view's crop shrink at random.
        colour_augmentation: Brightness, contrast and saturation of a view are multiplied by random factors within
            1 ± this.
        aspect_augmentation: The aspect of a batch is multiplied or divided by a random factor up to 1 + this.
        flip_augmentation: Mirror half of the samples left to right, together with their cameras.
        on_error: ``raise`` stops at the first broken file. ``skip`` gives a pair with a broken file weight 0 and
            leaves out one with a missing file; all are logged at the end of every epoch.
        num_workers: Number of processes that read files.
        seed: Seed of the order and the augmentation in training.
        output_dir: Folder for predictions.
    """

    def __init__(
        self,
        data_dir: str = "data/aerial_megadepth",
        segmentation_dir: str | None = None,
        train_split: str = "train.npz",
        val_split: str = "val.npz",
        batch_size: int = 1,
        image_size: int = 518,
        aspect: float | None = None,
        views: int = 2,
        max_depth: float = MAX_DEPTH,
        depth_percentile: float = DEPTH_PERCENTILE,
        scale_augmentation: float = 0.0,
        colour_augmentation: float = 0.0,
        aspect_augmentation: float = 0.0,
        flip_augmentation: bool = False,
        on_error: OnError = "raise",
        num_workers: int = 2,
        seed: int = 0,
        output_dir: str = "runs/pair_aerialmd/predictions",
    ) -> None:
        super().__init__()
        requirements = {
            "--data.image_size": (
                "a positive multiple of 14",
                image_size >= PATCH_SIZE and image_size % PATCH_SIZE == 0,
            ),
            "--data.batch_size": ("at least 1", batch_size >= 1),
            "--data.views": ("at least 2", views >= 2),
            "--data.aspect": ("null or above 0", or_none(ABOVE_0).holds(aspect)),
            "--data.max_depth": ("above 0", ABOVE_0.holds(max_depth)),
            "--data.depth_percentile": ("above 0 and at most 100", 0 < depth_percentile <= 100),
            "--data.scale_augmentation": ("at least 0 and below 1", 0 <= scale_augmentation < 1),
            "--data.colour_augmentation": ("between 0 and 1", 0 <= colour_augmentation <= 1),
            "--data.aspect_augmentation": ("at least 0", AT_LEAST_0.holds(aspect_augmentation)),
            "--data.num_workers": ("at least 0", num_workers >= 0),
            "--data.seed": ("at least 0", seed >= 0),
        }
        check_settings(requirements)
        self.data_dir = Path(data_dir)
        self.segmentation_dir = None if segmentation_dir is None else Path(segmentation_dir)
        self.splits = {"train": train_split, "val": val_split}
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.output_dir = output_dir
        self.options = PairOptions(image_size, aspect, views, max_depth, depth_percentile, on_error)
        self.augmentation = Augmentation(
            scale_augmentation, colour_augmentation, aspect_augmentation, flip_augmentation, seed
        )
        self.datasets: dict[str, AerialMegaDepthDataset] = {}

    def check_files(self, stage: str) -> None:
        """Check that the splits exist, before the model is built.

        Raises:
            InputError: A split or the folder of masks is missing.
        """
        for name in ("train", "val") if stage == "fit" else ("val",):
            path = self.data_dir / self.splits[name]
            if not path.is_file():
                remedy = (
                    f"Name the folder of the dataset with --data.data_dir, or the file in it with --data.{name}_split."
                )
                raise InputError(path, "no such file", remedy)
        if self.segmentation_dir is not None and not self.segmentation_dir.is_dir():
            remedy = "Name the folder of masks with --data.segmentation_dir, or pass null to keep the sky."
            raise InputError(self.segmentation_dir, "no such folder", remedy)

    def prepare_data(self) -> None:
        """Check that the splits exist before anything else starts.

        Raises:
            InputError: A split or the folder of masks is missing.
        """
        training = self.trainer is None or self.trainer.state.fn == "fit"
        self.check_files("fit" if training else "validate")

    def setup(self, stage: str) -> None:
        """Read the splits and check that all files exist.

        Raises:
            InputError: A split is missing or broken, has no usable pair, or a file of a pair is missing; or
                one of two pairs of each split cannot be read or is not finite.
        """
        for name in ("train", "val") if stage == "fit" else ("val",):
            if name not in self.datasets:
                self.datasets[name] = self._dataset(name)
                check_some(self.datasets[name], self.samples_to_check)

    def _dataset(self, name: str) -> AerialMegaDepthDataset:
        path, augmentation = self.data_dir / self.splits[name], self.augmentation if name == "train" else None
        split = read_split(path)
        dataset = AerialMegaDepthDataset(split, self.data_dir, self.segmentation_dir, self.options, augmentation)
        if dataset.too_few_views and self.process()[0] == 0:
            count, views = dataset.too_few_views, self.options.views
            logger.warning(
                "%s: %d of %d pairs are left out, as they have fewer than %d views", path, count, len(split), views
            )
        return dataset

    def train_dataloader(self) -> ResumableLoader:
        """Return the training batches, in an order drawn from the seed and the epoch."""
        return self.resumable_loader(
            self.datasets["train"], self.batch_size, self.seed, self.num_workers, ReportingTrainLoader
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return every validation pair once, in order."""
        return evaluation_loader(
            self.datasets["val"], self.batch_size, *self.process(), self.num_workers, ReportingLoader
        )

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the same as for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return this process's batches of the validation split, which are formed before processes share them."""
        rank, world_size = self.process()
        indices = list(range(len(self.datasets["val"])))
        batches = [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]
        share = _Share(share_of(batches, rank, world_size, "--data.val_split"), self.datasets["val"])
        return ReportingLoader(share, batch_size=None, num_workers=self.num_workers)


class _Share(PrebatchedDataset[list[int], Any]):
    """Batches of one process, with the pairs that were left out of the dataset."""

    def __init__(self, batches: Sequence[list[int]], dataset: AerialMegaDepthDataset) -> None:
        super().__init__(batches, dataset.__getitems__)
        self.left_out = dataset.left_out
