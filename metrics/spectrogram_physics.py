"""Physical measures of a walking person's spectrograms, image by image.

All measures are of levels, 0…1: the brightness behind an image's colours. They mean most next to the same
measure of real images.

Example::

    levels = image_levels(images)                            # (N, 3, H, W) uint8 → (N, H, W)
    table = measure(levels)                                  # (N, len(MEASURES)) float64
    breaks = table[:, MEASURES.index("ridge_breaks")].mean()
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from formats.colour_maps import colours_to_levels, find_palette

MEASURES = (
    "border_ratio_16", "border_ratio_32", "ridge_breaks", "step_rate", "step_regularity", "torso_speed",
    "noise_floor", "speckle",
)  # fmt: skip

BREAK = 4.0  # rows by which the torso's line jumps at a break, in images of 256 rows
MIN_STEPS, MAX_STEPS = 1.5, 12.0  # per image width
FINE = 32  # trial step rates per cycle of a frequency bin


def image_levels(images: Tensor) -> Tensor:
    """Give the levels (N, H, W) float32 in 0…1 of images (N, 3, H, W) uint8.

    Images of a known colour map are read back through it, others through the mean of their colours.
    """
    if not len(images):
        return torch.zeros(0, *images.shape[2:])
    colours = find_palette(images)
    return images.float().mean(1) / 255 if colours is None else colours_to_levels(images, colours)[:, 0]


def measure(levels: Tensor, zero_doppler_row: float = 0.8) -> Tensor:
    """Measure each image.

    - ``border_ratio_16``, ``border_ratio_32``: mean step of the level across the borders of blocks of 16 and 32
      pixels over the mean step elsewhere; 1 without blocks.
    - ``ridge_breaks``: columns in which the brightest row jumps by more than 4 of 256 rows.
    - ``step_rate``: frequency of the torso's sway in periods per image width.
    - ``step_regularity``: share of that sway's variance, 0…1, that one sine of the step rate explains.
    - ``torso_speed``: mean height of the torso's line above zero Doppler, in image heights.
    - ``noise_floor``: mean level of the quarter of rows with the lowest means.
    - ``speckle``: standard deviation of neighbouring columns' difference in those rows, over √2.

    Args:
        levels: (N, H, W) float in 0…1, sides of at least 64; rows are Doppler with approaching speeds upward,
            columns time.
        zero_doppler_row: Place of zero Doppler as a share of the height from the top; 0.8 in simulated images,
            0.5 where the axis is symmetric.

    Returns:
        (N, 8) float64 on the CPU, columns as in ``MEASURES``.
    """
    levels = levels.detach().float().cpu()
    if not len(levels):
        return torch.zeros(0, len(MEASURES), dtype=torch.float64)
    height = levels.shape[1]
    ridge = torso_line(levels)
    rate, regularity = step_rate(ridge)
    floor, speckle = noise(levels)
    columns = (
        border_ratio(levels, 16), border_ratio(levels, 32), ridge_breaks(levels), rate, regularity,
        zero_doppler_row - (ridge.mean(1) + 0.5) / height, floor, speckle,
    )  # fmt: skip
    return torch.stack([column.double() for column in columns], dim=1)


def border_ratio(levels: Tensor, block: int) -> Tensor:
    """Mean absolute step across borders of ``block`` × ``block`` pixels over that elsewhere, (N,).

    1 for images too small to have such a border.
    """
    if max(levels.shape[1:]) <= block:
        return torch.ones(len(levels))
    across, elsewhere = torch.zeros(2, len(levels)), torch.zeros(2, len(levels))
    for axis in (0, 1):
        steps = levels.diff(dim=1 + axis).abs().mean(dim=2 - axis)  # (N, sides − 1)
        border = (torch.arange(steps.shape[1]) + 1) % block == 0
        across[axis], elsewhere[axis] = steps[:, border].mean(1), steps[:, ~border].mean(1)
    return across.sum(0) / elsewhere.sum(0).clamp_min(1e-9)


def ridge_breaks(levels: Tensor) -> Tensor:
    """Number of columns in which the brightest row is more than 4 of 256 rows from the column before, (N,)."""
    brightest = levels.argmax(1).float()
    return (brightest.diff(dim=1).abs() > BREAK * levels.shape[1] / 256).sum(1)


def torso_line(levels: Tensor) -> Tensor:
    """Row of the brightest line in each column, (N, W), between rows and without single outliers.

    The centre of the levels within a few rows of the brightest one, in the median of five columns.
    """
    height = levels.shape[1]
    # The light blur decides between equal levels, which 8 bits have many of.
    blurred = F.avg_pool1d(levels.transpose(1, 2), 5, 1, 2, count_include_pad=False)
    brightest = blurred.argmax(2)
    offsets = torch.arange(-4, 5)
    rows = (brightest[:, :, None] + offsets).clamp(0, height - 1)
    near = levels.transpose(1, 2).gather(2, rows)
    weights = (near - near.amin(2, keepdim=True)).square() + 1e-6
    line = (weights * rows).sum(2) / weights.sum(2)
    return F.pad(line[:, None], (2, 2), mode="replicate")[:, 0].unfold(1, 5, 1).median(2).values


def step_rate(line: Tensor) -> tuple[Tensor, Tensor]:
    """Periods per width of the line's sway, and the share of its variance that a sine of that rate explains.

    Least squares of one sine next to a straight trend, over a fine grid of rates.

    Args:
        line: (N, W) rows of the torso, see `torso_line`.

    Returns:
        Rate and share, (N,) float64 each. A walk whose step rate changes within the image has a low share.
    """
    width = line.shape[1]
    time = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    trend = torch.stack([torch.ones_like(time), time], dim=1)
    basis = torch.linalg.qr(trend).Q
    sway = line.double().T
    sway = sway - basis @ (basis.T @ sway)
    rates = torch.arange(MIN_STEPS, MAX_STEPS, 1 / FINE, dtype=torch.float64)
    angles = 2 * math.pi * rates[:, None] * time
    waves = torch.stack([angles.cos(), angles.sin()], dim=2)  # (rates, W, 2)
    waves = torch.linalg.qr(waves - basis @ (basis.T @ waves)).Q
    explained = (waves.transpose(1, 2) @ sway).square().sum(1) / sway.square().sum(0).clamp_min(1e-12)
    best = explained.max(0)
    return rates[best.indices], best.values


def noise(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean level and speckle of the quarter of rows with the lowest means, (N,) each."""
    quiet = levels.mean(2).argsort(1)[:, : max(1, levels.shape[1] // 4)]
    rows = levels.gather(1, quiet[:, :, None].expand(-1, -1, levels.shape[2]))
    return rows.mean((1, 2)), rows.diff(dim=2).flatten(1).std(1) / math.sqrt(2)
