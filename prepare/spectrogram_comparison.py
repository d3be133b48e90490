"""Figure of real and generated spectrograms of the same users, next to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.sample_requests import find_samples
from datamodules.spectrogram_folders import SpectrogramFile
from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.images import write_png
from formats.spectrogram_axes import SpectrogramAxes
from metrics.spectrogram_physics import image_levels, measure


def spectrogram_comparison(data_dir: Path, samples_dir: Path, out: Path, per_user: int = 3, split: str = "val") -> None:
    """Draw typical real and generated spectrograms of every user who has samples, with axes in s and m/s.

    Typical are the images nearest to the median of their user's images in all measures of blocks, gait and noise,
    each measure divided by its median deviation: neither the best nor the worst are chosen.

    Args:
        data_dir: Folder of real spectrograms with <split>/ID_<n>/*.png.
        samples_dir: Folder that `predict` of a generator wrote.
        out: PNG file.
        per_user: Real and generated images of each user.
        split: Split of the real images.

    Raises:
        InputError: A folder holds no images.
    """
    real = find_spectrograms(data_dir, split)
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for user, made in find_samples(samples_dir, sorted({file.user_id for file in real})).items():
        rows[f"{user} real"] = typical_images([file for file in real if file.user_id == user], per_user)
        rows[f"{user} generated"] = typical_images([SpectrogramFile(path, user) for path in made], per_user)
    write_png(out, spectrogram_sheet(rows, SpectrogramAxes.read(data_dir), height=256))
    print(f"{out}: {per_user} typical real and generated spectrograms of {len(rows) // 2} users")


def typical_images(files: list[SpectrogramFile], count: int) -> list[NDArray[np.uint8]]:
    """Read the images nearest to the median of all in their measures."""
    images = SpectrogramDataset(files, resize=True).__getitems__(list(range(len(files))))["images"]
    order = median_distance(measure(image_levels(images))).argsort()
    return [images[row].permute(1, 2, 0).numpy() for row in order[:count].tolist()]


def median_distance(table: Tensor) -> Tensor:
    """Distance (N,) of each row (N, M) from the median row, in units of the median absolute deviations."""
    away = (table - table.median(0).values).abs()
    return (away / away.median(0).values.clamp_min(1e-6)).clamp(max=10.0).square().sum(1).sqrt()
