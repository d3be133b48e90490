"""Statistics of a folder of latents: which there are, where they are from, and which are recommended."""

from __future__ import annotations

from pathlib import Path

from formats.atomic import write_text
from formats.errors import InputError
from formats.latent_shards import (
    EXTRACTION,
    IMAGENET_STATISTICS,
    RECOMMENDATION,
    STATISTICS,
    LatentStatistics,
    find_shards,
    open_shard,
)
from formats.local_files import read_text

LARGEST_DIFFERENCE = 0.5  # of mean or std, averaged over channels, up to which ImageNet's statistics are recommended
CHOICES = ("dataset", "imagenet")
PUBLISHED_NAMES = (IMAGENET_STATISTICS, STATISTICS)  # next to a published VA-VAE


def measure_statistics(folder: Path, split: str = "train") -> LatentStatistics:
    """Measure the statistics of a split, one shard after another.

    Raises:
        InputError: A shard is missing or broken.
    """
    return LatentStatistics.measure([open_shard(path) for path in find_shards(folder, split)])


def read_or_measure(folder: Path, channels: int) -> LatentStatistics:
    """Return a folder's own statistics, measured if their file is missing.

    Raises:
        InputError: The file or a shard cannot be used.
    """
    path = folder / STATISTICS
    return LatentStatistics.read(path, channels) if path.exists() else measure_statistics(folder)


def published_statistics(tokenizer: Path, channels: int) -> Path | None:
    """Return the file of ImageNet's statistics next to a published tokenizer; None if none fits."""
    folder = tokenizer if tokenizer.is_dir() else tokenizer.parent
    is_of_latents = (folder / EXTRACTION).exists()  # with statistics of its own
    for name in PUBLISHED_NAMES:
        path = folder / name
        if path.is_file() and not is_of_latents:
            try:
                LatentStatistics.read(path, channels)
            except InputError:  # of another tokenizer
                continue
            return path
    return None


def write_statistics(folder: Path, data_name: str, imagenet_path: Path | None = None, split: str = "train") -> str:
    """Write the statistics of a folder of latents, those of ImageNet if there are any, and the recommendation.

    Args:
        folder: The folder of latents.
        data_name: Name of the data set in the recommendation.
        imagenet_path: File of ImageNet's statistics; None keeps those in the folder, if it holds any.
        split: Split to measure.

    Returns:
        ``"dataset"`` or ``"imagenet"``, as recommended.

    Raises:
        InputError: A file cannot be used.
    """
    own = measure_statistics(folder, split)
    stored, imagenet = folder / IMAGENET_STATISTICS, None
    if imagenet_path is None and stored.is_file():
        imagenet_path = stored
    if imagenet_path is not None:
        imagenet = LatentStatistics.read(imagenet_path, len(own.mean))
        imagenet.write(stored)
    choice, text = recommend_statistics(own, imagenet, data_name, imagenet_path)
    write_text(folder / RECOMMENDATION, text)
    own.write(folder / STATISTICS)
    return choice


def recommend_statistics(
    own: LatentStatistics,
    imagenet: LatentStatistics | None,
    data_name: str = "this data set",
    imagenet_path: Path | None = None,
) -> tuple[str, str]:
    """Choose between the dataset's own statistics and ImageNet's.

    The dataset's own are recommended where mean or std differ by more than 0.5, averaged over channels;
    otherwise ImageNet's.

    Args:
        own: Statistics of the data set.
        imagenet: ImageNet's for the same tokenizer, if known.
        data_name: Name of the data set in the text.
        imagenet_path: File of ImageNet's statistics, for the text.

    Returns:
        ``"dataset"`` or ``"imagenet"``, and a text with data set, differences and reason.
    """
    if imagenet is None:
        lines = [
            "recommended: dataset",
            f"data set: {data_name}, {len(own.mean)} channels",
            "reason: no ImageNet statistics were given, or found next to the tokenizer, to compare with.",
        ]
        return "dataset", "\n".join(lines) + "\n"
    mean_difference = (own.mean - imagenet.mean).abs().mean().item()
    std_difference = (own.std - imagenet.std).abs().mean().item()
    larger = [
        name for name, value in (("mean", mean_difference), ("std", std_difference)) if value > LARGEST_DIFFERENCE
    ]
    choice = "dataset" if larger else "imagenet"
    reason = (
        f"the difference of {' and of '.join(larger)} is over {LARGEST_DIFFERENCE}; normalised with ImageNet's, these "
        "latents would be far from mean 0 and std 1."
        if larger
        else f"both differences are at most {LARGEST_DIFFERENCE}; published weights expect ImageNet's."
    )
    lines = [
        f"recommended: {choice}",
        f"data set: {data_name}, {len(own.mean)} channels",
        f"ImageNet's statistics: {imagenet_path or 'as given'}",
        f"difference of mean, averaged over channels: {mean_difference:.4f}",
        f"difference of std, averaged over channels: {std_difference:.4f}",
        f"reason: {reason}",
    ]
    return choice, "\n".join(lines) + "\n"


def recommended(folder: Path, channels: int) -> str:
    """Return ``"dataset"`` or ``"imagenet"`` as the folder's recommendation says; without one, by the same rule.

    Raises:
        InputError: The recommendation, or a file of statistics, cannot be used.
    """
    path = folder / RECOMMENDATION
    if not path.exists():
        imagenet = folder / IMAGENET_STATISTICS
        known = LatentStatistics.read(imagenet, channels) if imagenet.is_file() else None
        return recommend_statistics(read_or_measure(folder, channels), known)[0] if known else "dataset"
    remedy = "Make it again with `python cli.py prepare latent-statistics`, or choose another --data.statistics."
    first = read_text(path, remedy).partition("\n")[0]
    choice = first.removeprefix("recommended:").strip()
    if choice not in CHOICES:
        raise InputError(path, f"begins with {first[:60]!r}, not with `recommended: dataset` or `imagenet`", remedy)
    return choice
