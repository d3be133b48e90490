"""Where training looks along the path from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

TimeDistribution = Literal["logit_normal", "uniform"]


def draw_times(batch_size: int, distribution: TimeDistribution, device: torch.device) -> Tensor:
    """Draw training times (B,) in (0, 1) on the device.

    ``logit_normal`` is the sigmoid of a standard normal, dense in the middle of the path, where the velocity is
    hardest to tell (Esser et al. 2024); ``uniform`` is flat.
    """
    if distribution == "uniform":
        return torch.rand(batch_size, device=device)
    return torch.randn(batch_size, device=device).sigmoid()


def linear_path(data: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Point and velocity of the straight path at times t (B,).

    Returns:
        x_t = t·data + (1 − t)·noise and the target velocity data − noise, each (B, C, H, W).
    """
    t = t.view(-1, *[1] * (data.ndim - 1))
    return t * data + (1 - t) * noise, data - noise
