"""Position encodings of tokens (fixed sin-cos table, rotary angles) and the embedding of time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sincos_table(channels: int, height: int, width: int) -> Tensor:
    """Fixed 2-D position table of DiT, (1, height · width, channels).

    The first half of the channels encodes the column, the second the row; within a half, sines come before
    cosines. Computed in float64, since the table is compared with published files.
    """
    frequencies = 10000.0 ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in (height, width))
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    halves = []
    for position in (column, row):
        angle = position.reshape(-1, 1) * frequencies
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, dim=1).float().unsqueeze(0)


def rotary_tables(head_dim: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the 2-D axial rotary embedding, each (height · width, head_dim).

    The first half of a head rotates with the row, the second with the column; each angle is repeated for two
    neighbouring channels.
    """
    per_axis = head_dim // 2
    frequencies = 10000.0 ** -(torch.arange(0, per_axis, 2).float() / per_axis)
    angles = torch.arange(max(height, width)).float().unsqueeze(1) * frequencies  # (side, head_dim / 4)
    angles = angles.repeat_interleave(2, dim=1)
    row = angles[:height].unsqueeze(1).expand(height, width, per_axis)
    column = angles[:width].unsqueeze(0).expand(height, width, per_axis)
    both = torch.cat([row, column], dim=-1).reshape(height * width, head_dim)
    return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate neighbouring channel pairs of x (..., T, head_dim) by the tables' angles: (a, b) → (−b, a)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack((-b, a), dim=-1).flatten(-2)
    return x * cos + rotated * sin


class TimeEmbedding(nn.Module):
    """Embed time in [0, 1], not multiplied by 1000, by a 256-wide sinusoid (cosines first) and an MLP."""

    def __init__(self, hidden_size: int, frequency_size: int = 256) -> None:
        super().__init__()
        self.frequency_size = frequency_size
        self.mlp = nn.Sequential(nn.Linear(frequency_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))

    def forward(self, t: Tensor) -> Tensor:
        """Embed t (B,) as (B, hidden_size)."""
        half = self.frequency_size // 2
        steps = torch.arange(half, dtype=torch.float32, device=t.device) / half
        angle = t.float().unsqueeze(1) * torch.exp(-math.log(10000) * steps)
        sinusoid = torch.cat([angle.cos(), angle.sin()], dim=-1)
        embedding: Tensor = self.mlp(sinusoid.to(next(self.mlp.parameters()).dtype))
        return embedding
