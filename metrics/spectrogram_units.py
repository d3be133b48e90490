"""Measures of a person's walk in plain units: speeds in m/s, steps per second, breaks per image.

Example::

    table = walk_measures(images, SpectrogramAxes.read("data/microdoppler"))   # (N, 3, H, W) uint8 → (N, 4) float64
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from formats.spectrogram_axes import SpectrogramAxes
from metrics.spectrogram_physics import MEASURES, image_levels, measure

WALK_MEASURES = {  # name → what it is, unit
    "torso_speed": ("Torso speed", "m/s"),
    "step_rate": ("Step rate", "1/s"),
    "envelope": ("Speed of the fastest limb (envelope)", "m/s"),
    "ridge_breaks": ("Breaks of the torso line", "per image"),
}
REACHED = 0.9  # share of the time in which the envelope is below its measure
ABOVE_NOISE = 0.02  # level by which the envelope is brighter than the noise


def walk_measures(images: Tensor, axes: SpectrogramAxes) -> Tensor:
    """Measure each image.

    Args:
        images: (N, 3, H, W) uint8, sides of at least 64; rows are Doppler with approaching speeds upward.
        axes: Time and speeds of the images.

    Returns:
        (N, 4) float64, columns as in ``WALK_MEASURES``.
    """
    levels = image_levels(images)
    table = measure(levels, axes.zero_doppler_row)
    column = {name: table[:, place] for place, name in enumerate(MEASURES)}
    reach = axes.zero_doppler_row - envelope_row(levels)
    return torch.stack(
        [
            column["torso_speed"] * axes.speed_range,
            column["step_rate"] / axes.seconds,
            reach * axes.speed_range,
            column["ridge_breaks"],
        ],
        dim=1,
    )


def envelope_row(levels: Tensor) -> Tensor:
    """Place of the upper envelope as a share of the height from the top, (N,) float64.

    In each column the envelope is the uppermost row that is brighter than the noise ever is in the eighth of rows
    with the lowest means, in means of 5 × 3 pixels; the place is the one above which it is in a tenth of the time.

    Args:
        levels: (N, H, W) float in 0…1.
    """
    if not len(levels):
        return torch.zeros(0, dtype=torch.float64)
    height = levels.shape[1]
    smooth = F.avg_pool2d(levels[:, None], (5, 3), 1, (2, 1), count_include_pad=False)[:, 0]
    quiet = smooth.mean(2).argsort(1)[:, : max(1, height // 8)]
    noise = smooth.gather(1, quiet[:, :, None].expand(-1, -1, levels.shape[2])).flatten(1)
    above = smooth > noise.quantile(0.999, dim=1)[:, None, None] + ABOVE_NOISE
    top = torch.where(above.any(1), above.int().argmax(1), height - 1)  # the first of equal values
    return (top.double().quantile(1 - REACHED, dim=1) + 0.5) / height
