"""Colour regions of layered art with their true order, for the region order network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch.utils.data import DataLoader, Dataset

from batches.regions import RegionBatch
from datamodules.content_check import LARGEST
from datamodules.layered_art_dataset import SplitName, split_of
from datamodules.loading import ResumableDataModule, ResumableLoader, evaluation_loader
from decomposition.region_graph import PAIR_FEATURES, REGION_FEATURES, RegionGraph, colour_columns
from formats.errors import InputError, check_settings
from formats.layered_art.base import ArtSample

MIRRORED = REGION_FEATURES.index("x")


@dataclass(frozen=True)
class OrderedRegions:
    """Regions of one image, the median paint order of each, (N,) float32, and the name of the image."""

    graph: RegionGraph
    orders: NDArray[np.float32]
    name: str = ""


def read_ordered_regions(path: Path) -> OrderedRegions:
    """Read a file that `prepare region-graphs` has written.

    Raises:
        InputError: The file is damaged, or was written with other measurements.
    """
    remedy = "Run prepare region-graphs into a new folder."
    try:
        tensors = load_file(path)
        orders = tensors.pop("orders")
        graph = RegionGraph(**tensors)
    except (SafetensorError, TypeError, KeyError, OSError) as error:
        raise InputError(path, "is not a file of region graphs", remedy) from error
    if graph.regions.shape[1] != len(REGION_FEATURES) or graph.pair_features.shape[1] != len(PAIR_FEATURES):
        raise InputError(path, "has other measurements than this version", remedy)
    arrays = {**tensors, "orders": orders}
    wrong = [name for name, values in arrays.items() if not (np.abs(values.astype(np.float64)) <= LARGEST).all()]
    if wrong:
        raise InputError(path, f"holds {', '.join(wrong)} that are not finite or over {LARGEST:g}", remedy)
    return OrderedRegions(graph, orders, f"{path.parent.name}/{path.stem}")


def split_files(folders: Sequence[str], split: SplitName, val_share: float, test_share: float) -> list[Path]:
    """List the region graphs of a split, which is that of `LayeredArtDataModule`.

    Raises:
        InputError: A folder has no region graphs, or no image falls into the split.
    """
    paths = []
    for folder in folders:
        found = sorted(Path(folder).glob("*/*.safetensors"))
        if not found:
            remedy = "Run prepare region-graphs first, and name its folder with --data.data_dir."
            raise InputError(folder, "has no region graphs", remedy)
        samples = [ArtSample(path.parent.name, path.stem, path) for path in found]
        paths += [sample.path for sample in samples if split in split_of(sample, val_share, test_share, 0)]
    if not paths:
        remedy = "Give more images, or another --data.val_share."
        raise InputError(", ".join(folders), f"no image falls into the split '{split}'", remedy)
    return paths


def read_split(folders: Sequence[str], split: SplitName, val_share: float, test_share: float) -> list[OrderedRegions]:
    """Read the region graphs of a split.

    Raises:
        InputError: As `split_files`, or a file is damaged.
    """
    return [read_ordered_regions(path) for path in split_files(folders, split, val_share, test_share)]


class RegionGraphDataset(Dataset[RegionBatch]):
    """Region graphs in memory, given as whole batches.

    Args:
        samples: One per image.
        augment: Mirror half of the images, and shift their colours.
        seed: Seed of the augmentation.
    """

    def __init__(self, samples: Sequence[OrderedRegions], augment: bool = False, seed: int = 0) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which changes the augmentation."""
        self.epoch = epoch

    def __getitems__(self, indices: list[int]) -> RegionBatch:
        """Return the batch of these samples; index −1 gives an image without regions."""
        samples = [self.samples[index] if index >= 0 else None for index in indices]
        count = max(len(sample.orders) if sample else 1 for sample in samples)
        regions = np.zeros((len(samples), count, len(REGION_FEATURES)), np.float32)
        orders, areas = np.zeros((2, len(samples), count), np.float32)
        pairs = [np.zeros((0, 2), np.int64)]
        features, swapped = ([np.zeros((0, len(PAIR_FEATURES)), np.float32)] for _ in range(2))
        contacts = [np.zeros(0, np.float32)]
        for row, (index, sample) in enumerate(zip(indices, samples, strict=True)):
            if sample is None:
                continue
            graph, size = sample.graph, len(sample.orders)
            regions[row, :size] = self._augmented(graph.regions, index) if self.augment else graph.regions
            orders[row, :size], areas[row, :size] = sample.orders, graph.areas / graph.areas.sum()
            pairs.append(graph.pairs.astype(np.int64) + row * count)
            features.append(graph.pair_features)
            swapped.append(graph.swapped_features)
            contacts.append(graph.contacts / max(1.0, float(graph.contacts.sum())))
        return {
            "regions": torch.from_numpy(regions),
            "mask": torch.from_numpy(areas > 0),
            "pairs": torch.from_numpy(np.concatenate(pairs)),
            "pair_features": torch.from_numpy(np.concatenate(features)),
            "swapped_features": torch.from_numpy(np.concatenate(swapped)),
            "contacts": torch.from_numpy(np.concatenate(contacts)),
            "orders": torch.from_numpy(orders),
            "areas": torch.from_numpy(areas),
            "names": [sample.name if sample else "" for sample in samples],
        }

    def _augmented(self, regions: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        result = regions.copy()
        if rng.random() < 0.5:
            result[:, MIRRORED] = 1 - result[:, MIRRORED]
        result[:, colour_columns()] += rng.normal(0, 0.1, 3)
        return result


class RegionGraphDataModule(ResumableDataModule):
    """Region graphs of layered art as :class:`batches.regions.RegionBatch`.

    Args:
        data_dir: Folder, or several folders, that ``prepare region-graphs`` wrote.
        val_data_dir: Folder or folders whose held-out samples validate; None uses those of ``data_dir``.
        batch_size: Images per process and step.
        val_share: Share of the images that validate; the split is that of `LayeredArtDataModule`.
        test_share: Share of the images that are left for its test.
        seed: Seed of the order and the augmentation in training.
    """

    def __init__(
        self,
        data_dir: str | list[str] = "data/clipart_regions",
        val_data_dir: str | list[str] | None = None,
        batch_size: int = 12,
        val_share: float = 0.1,
        test_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        requirements = {
            "--data.batch_size": ("1 or more", batch_size >= 1),
            "--data.val_share": ("above 0 and below 1", 0 < val_share < 1),
            "--data.test_share": ("at least 0, and below 1 with val_share", 0 <= test_share < 1 - val_share),
            "--data.seed": ("0 or more", seed >= 0),
        }
        check_settings(requirements)
        self.roots = [data_dir] if isinstance(data_dir, str) else data_dir
        self.val_roots = self.roots if val_data_dir is None else val_data_dir
        self.val_roots = [self.val_roots] if isinstance(self.val_roots, str) else self.val_roots
        self.batch_size, self.seed = batch_size, seed
        self.val_share, self.test_share = val_share, test_share
        self.datasets: dict[str, RegionGraphDataset] = {}

    def setup(self, stage: str) -> None:
        """Read the graphs.

        Raises:
            InputError: A folder has no region graphs, or a file is damaged.
        """
        if not self.datasets:
            shares = (self.val_share, self.test_share)
            train, val = read_split(self.roots, "train", *shares), read_split(self.val_roots, "val", *shares)
            self.datasets["train"] = RegionGraphDataset(train, augment=True, seed=self.seed)
            self.datasets["val"] = RegionGraphDataset(val)

    def train_dataloader(self) -> ResumableLoader:
        """Batches in an order that depends on the seed and the epoch."""
        dataset = self.datasets["train"]
        return self.resumable_loader(dataset, self.batch_size, self.seed)

    def val_dataloader(self) -> DataLoader[RegionBatch]:
        """Every validation image once, in order."""
        return evaluation_loader(self.datasets["val"], self.batch_size, *self.process())
