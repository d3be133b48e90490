"""Latents on disk: safetensors shards in two key layouts, their statistics, and a record of their extraction.

A folder of latents holds, per split, ``train.safetensors`` or ``train-00001-of-00004.safetensors`` …, and next to
them ``latents_stats.pt`` and ``extraction.json``. Published folders hold their shards in a folder per split.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.hub_files import is_hub_name
from formats.local_files import path_within, read_record, require_file
from formats.torch_files import read_torch

STATISTICS = "latents_stats.pt"
IMAGENET_STATISTICS = "latents_stats_imagenet.pt"
RECOMMENDATION = "stats_recommendation.txt"
EXTRACTION = "extraction.json"
TOKENIZER = "tokenizer.safetensors"
_LARGEST = 1e6  # mean or standard deviation of latents


@dataclass(frozen=True)
class LatentShard:
    """One memory-mapped shard.

    Attributes:
        path: The file.
        latents: (N, C, H, W), read from the file on access.
        latents_flip: Latents of the images flipped left to right, or None.
        labels: User IDs as in the folder names, or published class indices, (N,) int64.
    """

    path: Path
    latents: Tensor
    latents_flip: Tensor | None
    labels: Tensor


def shard_names(split: str, count: int) -> list[str]:
    """Return the file names of a split's ``count`` shards, relative to the folder of latents."""
    if count == 1:
        return [f"{split}.safetensors"]
    return [f"{split}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def write_shard(path: str | Path, latents: Tensor, user_ids: Tensor, latents_flip: Tensor | None = None) -> None:
    """Write latents (N, C, H, W), user IDs (N,) and optionally flipped latents under this task's keys."""
    n, channels, height, width = latents.shape
    tensors = {
        "latents": latents.contiguous(),
        "user_ids": user_ids.to(torch.int64),
        "num_samples": torch.tensor([n]),
        "num_users": torch.tensor([len(user_ids.unique())]),
        "latent_shape_h": torch.tensor([height]),
        "latent_shape_w": torch.tensor([width]),
        "latent_channels": torch.tensor([channels]),
    }
    if latents_flip is not None:
        tensors["latents_flip"] = latents_flip.contiguous()
    with atomic_path(path, sync=True) as temporary:
        temporary.write_bytes(save(tensors))  # save_file leaves files behind if killed


def open_shard(path: str | Path) -> LatentShard:
    """Open a shard in this task's layout (``user_ids``) or the published one (``labels``), without reading it.

    Raises:
        InputError: The file is missing, truncated, not a safetensors file, or lacks a key; or sizes disagree.
    """
    remedy = "Make the latents again: python cli.py predict --config configs/microdoppler_extract_latents.yaml"
    path = require_file(path, remedy)
    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            label_key = next((key for key in ("user_ids", "labels") if key in keys), None)
            if "latents" not in keys or label_key is None:
                raise InputError(path, f"holds {sorted(keys)}, not 'latents' with 'user_ids' or 'labels'", remedy)
            latents, labels = file.get_tensor("latents"), file.get_tensor(label_key)
            flipped = file.get_tensor("latents_flip") if "latents_flip" in keys else None
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(path, f"cannot be read: {fault}", remedy) from fault
    _check_types(path, latents, flipped, labels, label_key)
    labels = labels.flatten().long()
    shapes_agree = flipped is None or flipped.shape == latents.shape
    if latents.ndim != 4 or len(labels) != len(latents) or not shapes_agree:
        fault_text = f"latents of shape {tuple(latents.shape)} with {len(labels)} labels"
        raise InputError(path, fault_text, remedy)
    return LatentShard(path, latents, flipped, labels)


def _check_types(path: Path, latents: Tensor, flipped: Tensor | None, labels: Tensor, label_key: str) -> None:
    remedy = "Give latents as real floating-point numbers, and users as whole numbers of at least 0."
    for key, values in (("latents", latents), ("latents_flip", flipped)):
        if values is not None and (not values.is_floating_point() or values.element_size() < 2):
            raise InputError(path, f"holds '{key}' of type {values.dtype}", remedy)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(path, f"holds '{label_key}' of type {labels.dtype}", remedy)
    if labels.numel() and int(labels.min()) < 0:
        raise InputError(path, f"holds '{label_key}' of {int(labels.min())}", remedy)


def find_shards(folder: str | Path, split: str) -> list[Path]:
    """List a split's shards in order: ``<split>.safetensors``, numbered ones, or all files of a folder ``<split>``.

    Raises:
        InputError: No shard is found, or numbered ones are missing.
    """
    folder = Path(folder)
    single, numbered = folder / f"{split}.safetensors", sorted(folder.glob(f"{split}-*-of-*.safetensors"))
    if single.is_file() and numbered:
        fault = f"holds both {single.name} and {numbered[0].name}"
        raise InputError(folder, fault, "Keep those that belong together, and move the others away.")
    if single.is_file():
        return [single]
    if numbered:
        expected = shard_names(split, int(numbered[0].stem.rsplit("-", 1)[1]))
        missing = sorted(set(expected) - {path.name for path in numbered})
        if missing or len(numbered) != len(expected):
            fault = f"is incomplete: {len(numbered)} of {len(expected)} {split} shards, {missing[:3]} missing"
            raise InputError(folder, fault, "Repeat the extraction; it continues where it stopped.")
        return numbered
    in_folder = sorted((folder / split).glob("*.safetensors"))
    if in_folder:
        return in_folder
    raise InputError(
        folder,
        f"no latents of split '{split}' were found",
        "For sample data run `python cli.py prepare microdoppler-sample --out data/microdoppler`; then turn that "
        "folder, or your own spectrograms, into latents with `python cli.py predict --config "
        f"configs/microdoppler_extract_latents.yaml --data.data_dir data/microdoppler --data.output_dir {folder}`.",
    )


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation per channel, each (C,) float32."""

    mean: Tensor
    std: Tensor

    @classmethod
    def read(cls, path: str | Path, channels: int | None = None) -> LatentStatistics:
        """Read ``{"mean", "std"}``, each (1, C, 1, 1), without running code.

        Raises:
            InputError: The file is missing or malformed, a mean or standard deviation is not usable, or the channels
                are not ``channels``.
        """
        remedy = "Make it again with configs/microdoppler_extract_latents.yaml, or choose another --data.statistics."
        content = read_torch(require_file(path, remedy, "no latent statistics were found"), remedy)
        try:
            for key in ("mean", "std"):
                if not content[key].is_floating_point():
                    raise TypeError(f"'{key}' is {content[key].dtype}")
            mean, std = (content[key].float().flatten() for key in ("mean", "std"))
        except Exception as fault:  # a mapping of other things, or no mapping
            raise InputError(path, f"is not a file of latent statistics: {fault}", remedy) from fault
        if mean.shape != std.shape or not len(mean):
            raise InputError(path, f"has {len(mean)} means and {len(std)} standard deviations", remedy)
        statistics = cls(mean, std)
        statistics.check(path, remedy)
        if channels is not None and len(mean) != channels:
            raise InputError(path, f"has {len(mean)} channels, but the latents have {channels}", remedy)
        return statistics

    def check(self, path: str | Path, remedy: str) -> None:
        """Check that latents can be normalised.

        Raises:
            InputError: A mean is not finite or over 10⁶ in size, or a standard deviation is not in 10⁻⁶ … 10⁶.
        """
        for name, values, usable in (
            ("mean", self.mean, self.mean.abs() <= _LARGEST),
            ("standard deviation", self.std, (self.std >= 1 / _LARGEST) & (self.std <= _LARGEST)),
        ):
            wrong = (~usable).nonzero().flatten().tolist()
            if wrong:
                fault = f"has a {name} of {float(values[wrong[0]]):g} in channel {wrong[0]}"
                raise InputError(path, fault, remedy)

    def write(self, path: str | Path) -> None:
        """Write ``{"mean", "std"}``, each (1, C, 1, 1), as published; equal statistics give equal bytes.

        Raises:
            InputError: Latents cannot be normalised with them.
        """
        self.check(path, "Check the spectrograms: latents that are constant or not finite cannot be normalised.")
        # Written to a file, torch.save would store the file's name, which is temporary.
        content = io.BytesIO()
        torch.save({"mean": self.mean.view(1, -1, 1, 1), "std": self.std.view(1, -1, 1, 1)}, content)
        with atomic_path(path, sync=True) as temporary:
            temporary.write_bytes(content.getvalue())

    @classmethod
    def measure(cls, shards: list[LatentShard]) -> LatentStatistics:
        """Measure mean and standard deviation over (N, H, W) of all shards, in float64, one shard after another."""
        count = 0
        total = square = torch.zeros((), dtype=torch.float64)
        shift = shards[0].latents[:1].double().mean(dim=(0, 2, 3), keepdim=True)  # avoids cancellation
        for shard in shards:
            for part in shard.latents.split(1024):
                centred = part.double() - shift
                count += centred.numel() // centred.shape[1]
                total = total + centred.sum(dim=(0, 2, 3))
                square = square + centred.square().sum(dim=(0, 2, 3))
        mean = total / count
        std = (square / count - mean.square()).clamp_min(1e-24).sqrt()
        return cls((mean + shift.flatten()).float(), std.float())


@dataclass(frozen=True)
class ExtractionRecord:
    """Record of how a folder of latents was made, written next to them.

    Attributes:
        images_dir: The folder of spectrograms.
        tokenizer: Path of the tokenizer, relative to the folder of latents if it is in it, or its name on the hub.
        tokenizer_fingerprint: Hash of its weights, checked before decoding.
        posterior: ``mean`` or ``sample``.
        seed: Seed of the posterior's samples.
        flip: Whether the shards hold ``latents_flip``.
        shard_size: Images per shard.
        image_size: Side of the images in pixels.
        splits: Images per split.
        files_digest: Hash of the images' names and sizes.
        resize: What was done with images that are not square: ``squeeze`` or ``pad``.
        train_share: Share of each user's images for training, if the folder has no splits.
    """

    images_dir: str
    tokenizer: str
    tokenizer_fingerprint: str
    posterior: str
    seed: int
    flip: bool
    shard_size: int
    image_size: int
    splits: dict[str, int]
    files_digest: str
    resize: Literal["squeeze", "pad"] = "squeeze"
    train_share: float = 0.8

    @classmethod
    def read(cls, folder: str | Path) -> ExtractionRecord | None:
        """Read the record of a folder of latents; None if there is none (published folders).

        Raises:
            InputError: The record is broken, or names a tokenizer by a relative path that leads out of the folder.
        """
        path = Path(folder) / EXTRACTION
        if not path.exists():
            return None
        record = read_record(cls, path, "Move the folder away and extract the latents again.")
        if not Path(record.tokenizer).is_absolute() and not is_hub_name(record.tokenizer):
            path_within(folder, record.tokenizer, path)
        return record
