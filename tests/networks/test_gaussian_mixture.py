"""The velocity of a mixture of Gaussians is exact, and its samples have the data's global structure."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from networks.transport import GaussianMixtureVelocity, linear_path, sample

SHAPE = (2, 1, 8)


def waves(count: int, rate: float, seed: int = 0) -> Tensor:
    """Sines (N, 2, 1, 8) of one rate and random phase."""
    phase = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed))
    angle = 2 * math.pi * (rate * torch.arange(8) / 8 + phase)
    return torch.stack([angle.sin(), angle.cos()], dim=1)[:, :, None]


def test_one_gaussian_has_the_velocity_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(16, generator=generator) + 0.5
    data = (1 + scale * torch.randn(40_000, 16, generator=generator)).view(-1, *SHAPE)
    mixture = GaussianMixtureVelocity(1, SHAPE, num_components=1, rank=15, neighbours=40_000)
    mixture.fit(data[:2000], torch.zeros(2000, dtype=torch.long))
    t = torch.full((len(data),), 0.4)
    point, target = linear_path(data, torch.randn(data.shape, generator=generator), t)
    velocity = mixture(point, t, torch.zeros(len(data), dtype=torch.long))
    flat = torch.cat([point.flatten(1), torch.ones(len(data), 1)], dim=1)
    best = flat @ torch.linalg.lstsq(flat, target.flatten(1)).solution
    assert (velocity.flatten(1) - best).square().mean() < 0.01
    assert (velocity - target).square().mean() < 1.01 * (best - target.flatten(1)).square().mean()


def test_samples_have_the_rate_of_their_class_and_the_amplitude_of_the_data() -> None:
    data, classes = torch.cat([waves(96, 1), waves(96, 2)]), torch.arange(2).repeat_interleave(96)
    mixture = GaussianMixtureVelocity(2, SHAPE, num_components=12, rank=2, neighbours=8)
    mixture.fit(data, classes)
    asked = torch.arange(2).repeat_interleave(20)
    noise = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(1))
    made = sample(lambda t, x: mixture(x, x.new_full((len(x),), t), asked), noise, "heun", 40, 0.3)
    power = torch.fft.rfft(made[:, 0, 0], dim=1).abs().square()
    assert power[:20].argmax(1).eq(1).all()
    assert power[20:].argmax(1).eq(2).all()
    assert made.square().mean((1, 2, 3)).sqrt() == pytest.approx(torch.full((40,), math.sqrt(0.5)), rel=0.5)


def test_few_latents_make_fewer_gaussians() -> None:
    mixture = GaussianMixtureVelocity(1, SHAPE, num_components=8, rank=2, neighbours=3)
    mixture.fit(waves(6, 1), torch.zeros(6, dtype=torch.long))
    assert int((mixture.weights > 0).sum()) == 3
    assert mixture.weights.sum() == pytest.approx(1)
    assert mixture(waves(4, 1), torch.tensor([0.0, 0.3, 0.9, 1.0]), torch.zeros(4).long()).isfinite().all()


def test_wrong_sizes_are_refused() -> None:
    for sizes in ((0, 2, 4), (4, 0, 4), (4, 4, 4), (4, 16, 99)):
        with pytest.raises(ValueError, match="rank < neighbours"):
            GaussianMixtureVelocity(1, SHAPE, *sizes)
    with pytest.raises(ValueError, match="class 0 has 2 latents"):
        GaussianMixtureVelocity(1, SHAPE, 2, 2, 4).fit(waves(2, 1), torch.zeros(2, dtype=torch.long))
