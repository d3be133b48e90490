"""Positions of tokens and pixels: rotary tables for attention, sin-cos vectors for the dense heads."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

BASE = 100.0  # of the frequencies, in the rotary tables and in the dense heads


class TableCache:
    """Cache of tables by shape and device, which is not part of ``state_dict()``.

    Args:
        max_size: Number of tables kept; the oldest is removed first.
    """

    def __init__(self, max_size: int = 32) -> None:
        self.max_size = max_size
        self._tables: dict[Hashable, tuple[Tensor, ...]] = {}

    def get(self, key: Hashable, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Return the tables of ``key``, computed by ``make`` on first use."""
        if key not in self._tables:
            if torch.compiler.is_exporting():  # its tensors have no values, so they must not stay in the cache
                return make()
            while len(self._tables) >= self.max_size:
                self._tables.pop(next(iter(self._tables)))
            # Tensors made under inference_mode, as in validation, could not take part in training afterwards.
            with torch.inference_mode(False), torch.no_grad():
                self._tables[key] = make()
        return self._tables[key]


def rotary_tables(
    head_dim: int, grid: tuple[int, int], num_prefix: int, frames: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of the 2-D rotary embedding, each (frames · (num_prefix + rows · columns), head_dim).

    The first half of a head is rotated by the row, the second by the column; in a half of d/2 channels, channels
    i and i + d/4 form a pair with frequency 100^(−2i/(d/2)). Rows and columns of patches count from 1; the
    ``num_prefix`` tokens before them are at 0 and are not rotated.
    """
    frequencies = BASE ** -(torch.arange(0, head_dim // 2, 2, device=device).float() / (head_dim // 2))
    axes = [torch.arange(1, side + 1, device=device) for side in grid]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 2)
    positions = torch.cat([positions.new_zeros(num_prefix, 2), positions])
    angles = positions.unsqueeze(-1) * frequencies  # (tokens, 2, head_dim / 4)
    angles = torch.cat([angles, angles], dim=-1).flatten(1).repeat(frames, 1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (..., T, head_dim) by the tables' angles in float32; either half consists of pairs (a, b) → (−b, a)."""
    a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    rotated = torch.stack((-b, a), dim=-2).flatten(-3)
    return x * cos + rotated * sin


def pixel_vectors(channels: int, size: tuple[int, int], aspect: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return sin-cos vectors of the columns, (channels / 2, 1, W), and of the rows, (channels / 2, H, 1), float32.

    The embedding of a pixel is its column's vector followed by its row's. The two are kept separate because the
    full embedding takes 137 MB at 518 pixels and 128 channels. Columns span ±a/√(a²+1) · (W−1)/W and rows
    ±1/√(a²+1) · (H−1)/H.

    Args:
        channels: Channels of the feature map; a multiple of 4.
        size: Height H and width W of the feature map.
        aspect: Width over height of the image, a.
        device: Device of the vectors.
    """
    diagonal = (aspect**2 + 1) ** 0.5
    steps = torch.arange(channels // 4, dtype=torch.float64, device=device) / (channels // 4)

    def vectors(span: float, count: int) -> Tensor:
        end = span * (count - 1) / count
        positions = torch.linspace(-end, end, count, dtype=torch.float64, device=device)
        angles = BASE ** -steps.unsqueeze(1) * positions
        return torch.cat([angles.sin(), angles.cos()]).float()

    height, width = size
    return vectors(aspect / diagonal, width).unsqueeze(1), vectors(1 / diagonal, height).unsqueeze(2)
