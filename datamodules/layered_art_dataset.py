"""Layered art as batches: which samples belong to which split, and reading them with augmentation."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from batches.layers import LayerBatch
from datamodules.layer_transforms import crop, draw_window, recolour, resize_image, resize_orders, turn
from datamodules.loading import OnError
from formats.errors import InputError
from formats.existing_files import ExistingFiles
from formats.layered_art.base import ArtSample, LayeredArt

SplitName = Literal["train", "val", "test"]


class ArtFile(NamedTuple):
    """A sample and the data set that reads it."""

    art: LayeredArt
    sample: ArtSample


@dataclass(frozen=True)
class LayerAugmentation:
    """What is drawn at random; 0 and False leave pictures as they are."""

    flip: bool = False
    turn: bool = False
    crop: float = 0.0
    colour: float = 0.0
    seed: int = 0


class LoadedLayers(LayerBatch):
    """A batch with what was skipped in it, which a loader takes out and lists.

    Attributes:
        faults: One line for each skipped sample.
    """

    faults: list[str]


def sample_number(purpose: str, seed: int, sample: ArtSample) -> int:
    """A number of 64 bits that depends on these and nothing else, so not on what other samples there are."""
    text = "\0".join([purpose, str(seed), sample.category, sample.name])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def split_of(sample: ArtSample, val_share: float, test_share: float, seed: int) -> tuple[SplitName, ...]:
    """The splits a sample belongs to: its data set's own, or by its number.

    Each category gives about the same share. More samples never move one that is there. What a data set holds out
    itself both validates and tests.
    """
    if sample.split == "train":
        return ("train",)
    if sample.split == "val":
        return "val", "test"
    place = sample_number("split", seed, sample) / 2**64
    return ("test",) if place < test_share else ("val",) if place < test_share + val_share else ("train",)


def first_samples(files: Iterable[ArtFile], limit: int | None, seed: int) -> list[ArtFile]:
    """At most ``limit`` of the files, those with the lowest numbers, in the order given."""
    given = list(files)
    if limit is None or len(given) <= limit:
        return given
    numbers = [sample_number("limit", seed, file.sample) for file in given]
    chosen = sorted(range(len(given)), key=numbers.__getitem__)[:limit]
    return [given[place] for place in sorted(chosen)]


class LayeredArtDataset(Dataset):
    """Samples of a split, read from files whole batches at a time.

    Random draws depend on the seed, the epoch and the sample.

    Args:
        files: The samples.
        image_size: Side of the square that pictures are stretched to.
        augmentation: Of training.
        on_error: ``raise``, or ``skip`` samples that cannot be read.

    Raises:
        InputError: A file is missing and errors are not skipped, or nothing is left.
    """

    def __init__(
        self,
        files: Sequence[ArtFile],
        image_size: int,
        augmentation: LayerAugmentation | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.image_size, self.on_error = image_size, on_error
        self.augmentation = augmentation or LayerAugmentation()
        # Shared, so that workers that live on see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.left_out: list[str] = []  # skipped for good, as files are missing
        self.files = self._present(files)
        names = [f"{file.sample.category}/{file.sample.name}" for file in self.files]
        roots = [file.art.root.name for file in self.files]
        self.names = _distinct(names, roots)

    def _present(self, files: Sequence[ArtFile]) -> list[ArtFile]:
        """The samples whose files are there."""
        present, kept = ExistingFiles(), []
        for file in files:
            missing = present.missing(file.art.files(file.sample))
            if not missing:
                kept.append(file)
                continue
            if self.on_error == "raise":
                remedy = "Complete the data, or pass --data.on_error skip."
                raise InputError(missing[0], "there is no such file", remedy)
            sample = file.sample
            self.left_out.append(f"{sample.category}/{sample.name}: {missing[0]}: there is no such file")
        if files and not kept:
            remedy = "Name the right folder with --data.data_dir."
            raise InputError(files[0].art.root, "every sample lacks a file", remedy)
        return kept

    def __len__(self) -> int:
        return len(self.files)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the random draws."""
        self._epoch.fill_(epoch)

    def __getitems__(self, indices: list[int]) -> LoadedLayers:
        """Return the batch of these indices; index −1 and skipped samples become rows of weight 0.

        Raises:
            InputError: A sample cannot be read, and errors are not skipped.
        """
        rows, side = len(indices), self.image_size
        images = _empty((rows, 3, side, side), torch.uint8)
        orders = _empty((rows, side, side), torch.int32)
        masks = _empty((rows, side, side), torch.bool)
        layer_counts, weights = torch.ones(rows, dtype=torch.int64), torch.zeros(rows)
        faults: list[str] = []
        for row, index in enumerate(indices):
            try:
                if index >= 0:
                    layer_counts[row] = self._read(index, images[row], orders[row])
                    weights[row] = 1.0
            except InputError as fault:
                if self.on_error == "raise":
                    raise
                faults.append(f"{self.names[index]}: {fault}")
            masks[row] = bool(weights[row])
            if not weights[row]:
                images[row], orders[row] = 0, 0
        return {
            "images": images,
            "orders": orders,
            "layer_counts": layer_counts,
            "masks": masks,
            "names": ["" if index < 0 else self.names[index] for index in indices],
            "weights": weights,
            "faults": faults,
        }

    def _read(self, index: int, image_out: Tensor, orders_out: Tensor) -> int:
        """Read a sample into its row and return its number of layers."""
        art, sample = self.files[index]
        image, orders, layer_count = art.read(sample)
        augmentation = self.augmentation
        seed = [augmentation.seed, int(self._epoch), sample_number("augmentation", 0, sample)]
        draws = np.random.default_rng(seed)
        if augmentation.crop:
            window = draw_window(orders, augmentation.crop, draws)
            image, orders = crop(image, window), crop(orders, window)
        quarter_turns = int(draws.integers(4)) if augmentation.turn else 0
        mirrored = bool(draws.random() < 0.5) if augmentation.flip else False
        image = np.ascontiguousarray(turn(image, quarter_turns, mirrored))
        orders = turn(orders, quarter_turns, mirrored)
        reach = augmentation.colour
        factors = draws.uniform(1 - reach, 1 + reach, 3).tolist() if reach else None
        small = image.shape[0] * image.shape[1] < self.image_size**2  # colours change where there are fewer pixels
        if factors and small:
            image = recolour(image, *factors)
        resized = resize_image(image, self.image_size)
        if factors and not small:
            pixels = np.ascontiguousarray(resized.permute(1, 2, 0).numpy())
            resized = torch.from_numpy(np.array(recolour(pixels, *factors))).permute(2, 0, 1)
        image_out.copy_(resized)
        orders_out.copy_(resize_orders(orders, self.image_size))
        return layer_count


def _distinct(names: list[str], roots: list[str]) -> list[str]:
    """Names, with the root folder's and if need be a number behind those that several samples bear."""
    for suffixes in (roots, [str(place) for place in range(len(names))]):
        counts = Counter(names)
        names = [f"{name}@{suffix}" if counts[name] > 1 else name for name, suffix in zip(names, suffixes, strict=True)]
    return names


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor, in a worker in memory shared with the main process, so that it is not copied there."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
