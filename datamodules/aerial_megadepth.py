"""AerialMegaDepth: pairs of aerial and ground photographs with depth and cameras."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from datamodules.aerial_dataset import AerialMegaDepthDataset, Augmentation, PairOptions
from datamodules.loading import (
    OnError,
    ReportingLoader,
    ReportingTrainLoader,
    ResumableDataModule,
    ResumableLoader,
    WholeBatches,
    evaluation_loader,
)
from datamodules.pair_transforms import PATCH
from formats.aerial_megadepth import read_split
from formats.errors import InputError, check_settings

logger = logging.getLogger(__name__)


class AerialMegaDepthDataModule(ResumableDataModule):
    """Pairs of an AerialMegaDepth data set as :class:`batches.pair.PairBatch`.

    Every view is cut about its principal point to one aspect and resized, so that the longer side is
    ``image_size`` and both sides are multiples of 14. Depth is cleaned first: what is over ``max_depth``, then
    the sky, then outliers become 0. Augmentation is for training only; what is drawn depends on the seed, the
    epoch and the pair, not on workers or processes.

    Args:
        data_dir: Folder with the splits and the scenes.
        segmentation_dir: Folder with the scenes' ADE20k masks; None leaves the sky in.
        train_split: Split file of training, in ``data_dir``.
        val_split: Split file of validation, test and prediction.
        batch_size: Pairs per process and step.
        image_size: Longer side in pixels, a multiple of 14.
        aspect: Height over width of all views. None suits it to the pair, or to all pairs of a batch: then what
            a pair looks like depends on its companions where ``batch_size`` is over 1.
        views: Images per sample. Over 2, further images that overlap with the pair's in the same scene are added;
            pairs that have too few are left out and counted.
        max_depth: In metres.
        depth_percentile: Depths over this percentile of an image are outliers; 100 keeps all.
        scale_augmentation: Sides of a crop shrink by a share drawn up to this, for each view.
        colour_augmentation: Brightness, contrast and saturation change by a factor drawn up to 1 ± this, for each
            view.
        aspect_augmentation: The aspect is multiplied or divided by a factor drawn up to 1 + this, for each batch.
        flip_augmentation: Mirror the world of half of the samples left to right, with their cameras.
        on_error: ``raise``: the first broken file ends the run. ``skip``: a pair with a broken file gets weight 0,
            and one with a missing file is left out; all are listed at the end of every epoch.
        num_workers: Processes that read files.
        seed: Of the order and the augmentation in training.
        output_dir: Folder for what is predicted.
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
        max_depth: float = 2000.0,
        depth_percentile: float = 98.0,
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
            "--data.image_size": ("a positive multiple of 14", image_size >= PATCH and image_size % PATCH == 0),
            "--data.batch_size": ("1 or more", batch_size >= 1),
            "--data.views": ("2 or more", views >= 2),
            "--data.aspect": ("null, or over 0", aspect is None or aspect > 0),
            "--data.max_depth": ("over 0", max_depth > 0),
            "--data.depth_percentile": ("over 0 and at most 100", 0 < depth_percentile <= 100),
            "--data.scale_augmentation": ("at least 0 and below 1", 0 <= scale_augmentation < 1),
            "--data.colour_augmentation": ("in 0…1", 0 <= colour_augmentation <= 1),
            "--data.aspect_augmentation": ("0 or more", aspect_augmentation >= 0),
            "--data.seed": ("0 or more", seed >= 0),
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

    def prepare_data(self) -> None:
        """Look for the splits before anything else starts.

        Raises:
            InputError: One is not there, or the folder of masks is not.
        """
        training = self.trainer is None or self.trainer.state.fn == "fit"
        for name in ("train", "val") if training else ("val",):
            path = self.data_dir / self.splits[name]
            if not path.is_file():
                remedy = f"Name the data set with --data.data_dir, or the file in it with --data.{name}_split."
                raise InputError(path, "there is no such file", remedy)
        if self.segmentation_dir is not None and not self.segmentation_dir.is_dir():
            remedy = "Name the folder of masks with --data.segmentation_dir, or pass null to leave the sky in."
            raise InputError(self.segmentation_dir, "there is no such folder", remedy)

    def setup(self, stage: str) -> None:
        """Read the splits and see that all files are there.

        Raises:
            InputError: A split is missing or broken, has no usable pair, or needs a file that is missing.
        """
        for name in ("train", "val") if stage == "fit" else ("val",):
            if name not in self.datasets:
                self.datasets[name] = self._dataset(name)

    def _dataset(self, name: str) -> AerialMegaDepthDataset:
        path, augmentation = self.data_dir / self.splits[name], self.augmentation if name == "train" else None
        split = read_split(path)
        dataset = AerialMegaDepthDataset(split, self.data_dir, self.segmentation_dir, self.options, augmentation)
        if dataset.too_few_views and self.process()[0] == 0:
            count, views = dataset.too_few_views, self.options.views
            logger.warning("%s: %d of %d pairs are left out: fewer than %d views", path, count, len(split), views)
        return dataset

    def train_dataloader(self) -> ResumableLoader:
        """Batches of :class:`batches.pair.PairBatch` in an order drawn from the seed and the epoch."""
        return self.resumable_loader(
            self.datasets["train"], self.batch_size, self.seed, self.num_workers, ReportingTrainLoader
        )

    def val_dataloader(self) -> DataLoader:
        """Every validation pair once, in order."""
        return evaluation_loader(
            self.datasets["val"], self.batch_size, *self.process(), self.num_workers, ReportingLoader
        )

    def test_dataloader(self) -> DataLoader:
        """The same as validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader:
        """This process's batches of the validation split, cut before processes share them."""
        rank, world_size = self.process()
        indices = list(range(len(self.datasets["val"])))
        batches = [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]
        return ReportingLoader(
            _Share(batches[rank::world_size], self.datasets["val"]), batch_size=None, num_workers=self.num_workers
        )


class _Share(WholeBatches[list[int], Any]):
    """Batches of one process, with the pairs that were left out of the whole."""

    def __init__(self, batches: list[list[int]], dataset: AerialMegaDepthDataset) -> None:
        super().__init__(batches, dataset.__getitems__)
        self.left_out = dataset.left_out
