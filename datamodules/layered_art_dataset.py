"""Dataset of layered art: splits, and reading batches with augmentation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from batches.layers import LayerBatch
from datamodules.layer_transforms import draw_window, recolour, resize_image, resize_orders, turn
from datamodules.loading import OnError
from datamodules.transforms import crop
from formats.errors import InputError
from formats.existing_files import ExistingFiles
from formats.layered_art.base import ArtSample, LayeredArt

SplitName = Literal["train", "val", "test"]


class ArtFile(NamedTuple):
    """A sample and the dataset it belongs to."""

    art: LayeredArt
    sample: ArtSample


@dataclass(frozen=True)
class LayerAugmentation:
    """Random augmentation; the defaults leave images unchanged.

    Attributes:
        flip: Whether to mirror half of the images.
        turn: Whether to rotate by 0 to 3 quarter turns.
        crop: Largest share of both sides that is cut off.
        colour: Largest relative change of brightness, contrast and saturation.
        seed: Seed of the random numbers.
    """

    flip: bool = False
    turn: bool = False
    crop: float = 0.0
    colour: float = 0.0
    seed: int = 0


class LoadedLayers(LayerBatch):
    """A batch with the errors of skipped samples, which the loader removes and reports.

    Attributes:
        faults: One line per skipped sample.
    """

    faults: list[str]


def sample_number(purpose: str, seed: int, sample: ArtSample) -> int:
    """Hash a sample to 64 bits, independently of all other samples."""
    text = "\0".join([purpose, str(seed), sample.category, sample.name])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def split_of(sample: ArtSample, val_share: float, test_share: float, seed: int) -> tuple[SplitName, ...]:
    """Return the splits of a sample: that of its dataset, or one chosen by its hash.

    Each category contributes about the same share. Adding samples never moves others. Where a dataset defines its own
    split, the held-out part is used for both validation and test.
    """
    if sample.split == "train":
        return ("train",)
    if sample.split == "val":
        return "val", "test"
    share = sample_number("split", seed, sample) / 2**64
    return ("test",) if share < test_share else ("val",) if share < test_share + val_share else ("train",)


def first_samples(files: Iterable[ArtFile], limit: int | None, seed: int) -> list[ArtFile]:
    """Choose at most ``limit`` files by the hash of their samples, and keep their order."""
    candidates = list(files)
    if limit is None or len(candidates) <= limit:
        return candidates
    numbers = [sample_number("limit", seed, file.sample) for file in candidates]
    chosen = sorted(range(len(candidates)), key=numbers.__getitem__)[:limit]
    return [candidates[position] for position in sorted(chosen)]


class LayeredArtDataset(Dataset[LoadedLayers]):
    """Samples of a split, read in whole batches.

    Random augmentation depends only on the seed, the epoch and the sample.

    Args:
        files: The samples.
        image_size: Side of the square that images are stretched to.
        augmentation: Random augmentation in training; None for none.
        on_error: ``raise``, or ``skip`` samples that cannot be read.

    Raises:
        InputError: A file is missing and errors are not skipped, or no sample is left.
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
        # Shared with persistent workers, which thus see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.left_out: list[str] = []  # samples without all their files
        self.files = self._present(files)
        names = [f"{file.sample.category}/{file.sample.name}" for file in self.files]
        roots = [file.art.root.name for file in self.files]
        self.names = _distinct(names, roots)

    def _present(self, files: Sequence[ArtFile]) -> list[ArtFile]:
        """Return the samples whose files exist."""
        present, kept = ExistingFiles(), []
        for file in files:
            missing = present.missing(file.art.files(file.sample))
            if not missing:
                kept.append(file)
                continue
            if self.on_error == "raise":
                remedy = "Complete the data, or pass --data.on_error skip."
                raise InputError(missing[0], "no such file", remedy)
            sample = file.sample
            self.left_out.append(f"{sample.category}/{sample.name}: {missing[0]}: no such file")
        if files and not kept:
            remedy = "Name the right folder with --data.data_dir."
            raise InputError(files[0].art.root, "every sample lacks a file", remedy)
        return kept

    def __len__(self) -> int:
        return len(self.files)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which changes the augmentation."""
        self._epoch.fill_(epoch)

    def __getitems__(self, indices: list[int]) -> LoadedLayers:
        """Read a batch; index −1 and skipped samples give rows of weight 0.

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
            except InputError as error:
                if self.on_error == "raise":
                    raise
                faults.append(f"{self.names[index]}: {error}")
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
        rng = np.random.default_rng(seed)
        if augmentation.crop:
            window = draw_window(orders, augmentation.crop, rng)
            image, orders = crop(image, window), crop(orders, window)
        quarter_turns = int(rng.integers(4)) if augmentation.turn else 0
        mirrored = bool(rng.random() < 0.5) if augmentation.flip else False
        image = np.ascontiguousarray(turn(image, quarter_turns, mirrored))
        orders = turn(orders, quarter_turns, mirrored)
        change = augmentation.colour
        factors = rng.uniform(1 - change, 1 + change, 3).tolist() if change else None
        small = image.shape[0] * image.shape[1] < self.image_size**2  # colours are changed at the smaller size
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
    """Make names distinct by appending the root folder's name, else a number."""
    for suffixes in (roots, [str(position) for position in range(len(names))]):
        counts = Counter(names)
        names = [f"{name}@{suffix}" if counts[name] > 1 else name for name, suffix in zip(names, suffixes, strict=True)]
    return names


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Create an uninitialised tensor; a worker shares its memory with the main process, without a copy."""
    tensor = torch.empty(shape, dtype=dtype)
    return tensor if get_worker_info() is None else tensor.share_memory_()
