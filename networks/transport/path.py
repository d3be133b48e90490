"""The linear path from noise (t = 0) to data (t = 1), and the times and noise to train and evaluate it with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

TimeDistribution = Literal["logit_normal", "uniform"]


def draw_times(
    batch_size: int,
    distribution: TimeDistribution,
    device: torch.device,
    mean: float = 0.0,
    deviation: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw training times (B,) in (0, 1) on the device, from the generator or torch's own.

    ``logit_normal`` is the sigmoid of a normal variable of the given mean and standard deviation; with the defaults
    it is dense in the middle of the path, where the velocity is hardest to predict (Esser et al. 2024), and a
    negative mean shifts it towards the noise. ``uniform`` is flat and ignores both.
    """
    if distribution == "uniform":
        return torch.rand(batch_size, device=device, generator=generator)
    return (mean + deviation * torch.randn(batch_size, device=device, generator=generator)).sigmoid()


def evaluation_times(
    indices: Tensor, distribution: TimeDistribution, mean: float = 0.0, deviation: float = 1.0
) -> Tensor:
    """Give each sample a fixed time (B,) in (0, 1) by its index in the dataset, (B,) int64 on the CPU.

    The times are spread evenly over the distribution (golden ratio sequence) rather than drawn from it: they are
    the same in every run, and the mean loss varies less.
    """
    uniform = ((0.5 + indices.double() * 0.6180339887498949) % 1.0).float()
    return uniform if distribution == "uniform" else (mean + deviation * torch.special.ndtri(uniform)).sigmoid()


def seeded_noise(shape: tuple[int, ...], *key: int) -> Tensor:
    """Draw standard normal noise on the CPU that depends only on the key's non-negative integers."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear_path(data: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Compute point and velocity of the straight path at times t (B,).

    Returns:
        x_t = t·data + (1 − t)·noise and the target velocity data − noise, each (B, C, H, W).
    """
    t = t.view(-1, *[1] * (data.ndim - 1))
    return t * data + (1 - t) * noise, data - noise
