"""Speckle: the grain of a spectrogram that no small code can hold, kept as statistics and drawn again.

What a code leaves out of an image is split into its local strength, which is smooth and is coded, and grain of unit
strength, of which only the statistics are kept: its correlation, and its distribution for each level of the
image. Drawn again, the grain is new and its statistics are the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL = 8  # pixels between two local strengths
KERNEL = 15  # side of the correlation filter
NUM_LEVELS, NUM_QUANTILES = 17, 65
COHERENT = 0.65  # level from which an image is a coherent line, whose residual is blur rather than speckle
_WEAKEST = 1e-5  # variance of a residual that counts as none; 8-bit rounding alone leaves about this
_VALUES = 2_000_000  # looked at for the quantiles


class Speckle(nn.Module):
    """Statistics of residuals around images of levels 0…1.

    Args:
        kernel: (15, 15) filter of unit energy that gives white noise the grain's correlation.
        quantiles: (17, 65) quantiles of the grain, evenly spaced, per level from 0 to 1.
    """

    kernel: Tensor
    quantiles: Tensor

    def __init__(self, kernel: Tensor, quantiles: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel)
        self.register_buffer("quantiles", quantiles)

    @classmethod
    def fit(cls, residuals: Tensor, decoded: Tensor) -> Speckle:
        """Measure the statistics of residuals around decoded levels, (N, C, H, W) each."""
        grain = residuals / spread(local_strength(residuals)).exp()
        return cls(_correlation_filter(grain), _quantiles(grain, decoded))

    def draw(self, strength: Tensor, decoded: Tensor, noise: Tensor) -> Tensor:
        """Make speckle.

        Args:
            strength: (N, 1, H/8, W/8) logarithm of the standard deviation, see `local_strength`.
            decoded: (N, C, H, W) levels that the speckle goes on top of.
            noise: (N, C, H, W) standard normal.
        """
        padded = F.pad(noise.flatten(0, 1)[:, None], (KERNEL // 2,) * 4, mode="circular")
        normal = F.conv2d(padded, self.kernel[None, None].to(noise)).view_as(noise)
        uniform = torch.special.ndtr(normal)
        grain = _interpolate(self.quantiles.to(noise), decoded, uniform)
        return grain * spread(strength).exp()


def local_strength(residuals: Tensor) -> Tensor:
    """Logarithm of the local standard deviation, (N, 1, H/8, W/8), of residuals (N, C, H, W)."""
    energy = residuals.square().mean(1, keepdim=True)
    padded = F.pad(energy, (CELL // 2,) * 4, mode="replicate")
    return 0.5 * (F.avg_pool2d(padded, 2 * CELL, CELL) + _WEAKEST).log()


def spread(strength: Tensor) -> Tensor:
    """Bring local strengths (N, 1, H/8, W/8) to the size of the image, smoothly."""
    return F.interpolate(strength, scale_factor=CELL, mode="bilinear", align_corners=False)


def _correlation_filter(grain: Tensor) -> Tensor:
    height, width = grain.shape[-2:]
    power = torch.fft.rfft2(grain.float()).abs().square().mean((0, 1))
    response = torch.fft.fftshift(torch.fft.irfft2(power.sqrt(), s=(height, width)))
    middle = F.pad(response, (KERNEL // 2,) * 4)[height // 2 : height // 2 + KERNEL, width // 2 : width // 2 + KERNEL]
    return middle / middle.square().sum().sqrt().clamp_min(1e-12)


def _quantiles(grain: Tensor, decoded: Tensor) -> Tensor:
    step = -(-grain.numel() // _VALUES)
    values, levels = grain.flatten()[::step], decoded.flatten()[::step].clamp(0, 1)
    at = torch.linspace(0, 1, NUM_QUANTILES)
    whole = torch.quantile(values[:: -(-len(values) // 1_000_000)], at)
    rows = []
    for level in torch.linspace(0, 1, NUM_LEVELS):
        near = values[(levels - level).abs() <= 0.5 / (NUM_LEVELS - 1)]
        enough = len(near) >= 20 * NUM_QUANTILES
        row = torch.quantile(near[:: -(-len(near) // 1_000_000)], at) if enough else whole
        coherent = ((level - COHERENT) / 0.2).clamp(0, 0.8)
        rows.append(torch.lerp(row, row.mean().expand_as(row), coherent))
    return torch.stack(rows)


def _interpolate(table: Tensor, levels: Tensor, uniform: Tensor) -> Tensor:
    """Look up the table (rows, columns) between its entries at levels and shares in 0…1."""
    rows, columns = table.shape
    y, x = levels.clamp(0, 1) * (rows - 1), uniform.clamp(0, 1) * (columns - 1)
    top, left = y.floor().clamp(max=rows - 2), x.floor().clamp(max=columns - 2)
    down, right = y - top, x - left
    index = (top * columns + left).long()
    flat = table.flatten()
    upper = flat[index] * (1 - right) + flat[index + 1] * right
    lower = flat[index + columns] * (1 - right) + flat[index + columns + 1] * right
    return upper * (1 - down) + lower * down
