"""Measures of spectrograms: they agree with the simulation, and see images that are broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from formats.colour_maps import levels_to_colours, palette
from metrics.spectrogram_physics import (
    MEASURES,
    image_levels,
    measure,
    noise,
    ridge_breaks,
    step_rate,
    torso_line,
)
from metrics.spectrogram_quality import BARS, Bar, compare_measures, rank, summary, worst_user
from simulators.radar.gait import Walker
from simulators.radar.spectrogram import Radar, walking_image

WALKERS = (Walker(speed=1.0, cadence=0.95), Walker(speed=1.5, arm_swing=0.5))
RADAR = Radar()


def simulated(walker: Walker, count: int, seed: int) -> Tensor:
    """Levels (N, 256, 256) of images as the radar shows them."""
    images = [walking_image(walker, RADAR, np.random.default_rng([seed, number])) for number in range(count)]
    return image_levels(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))


@pytest.fixture(scope="module")
def real() -> list[Tensor]:
    return [simulated(walker, 3, seed) for seed, walker in enumerate(WALKERS)]


def value(levels: Tensor, name: str) -> Tensor:
    return measure(levels)[:, MEASURES.index(name)]


def test_gait_of_simulated_walkers_is_measured(real: list[Tensor]) -> None:
    for walker, levels in zip(WALKERS, real, strict=True):
        rates, speeds = value(levels, "step_rate"), value(levels, "torso_speed")
        assert torch.all((rates / (walker.step_rate * RADAR.duration) - 1).abs() < 0.03)  # speeds vary by 3 %
        span = RADAR.high_speed - RADAR.low_speed
        assert torch.all((speeds * span / walker.speed - 0.96).abs() < 0.08)  # aspects of up to 20°
        assert torch.all(value(levels, "step_regularity") > 0.85)
        assert torch.all(value(levels, "ridge_breaks") <= 1)
        for block in (16, 32):
            assert value(levels, f"border_ratio_{block}").mean() == pytest.approx(1, abs=0.12)


def blocks_shifted(levels: Tensor) -> Tensor:
    """Every second 32-pixel column of blocks is 10 rows lower."""
    broken = levels.clone()
    for left in range(32, 256, 64):
        broken[:, :, left : left + 32] = levels[:, :, left : left + 32].roll(10, dims=1)
    return broken


def faster_steps(levels: Tensor) -> Tensor:
    """Time runs 12 % faster: the image repeats its begin at its end."""
    columns = (torch.arange(256) * 1.12).long() % 256
    return levels[:, :, columns]


def changing_steps(levels: Tensor) -> Tensor:
    """The first half's steps are slow, the second's fast."""
    time = torch.linspace(0, 1, 256)
    return levels[:, :, (255 * (0.35 * time + 0.65 * time**2)).long()]


@pytest.mark.parametrize(
    ("broken", "name", "seen"),
    [
        (blocks_shifted, "border_ratio_32", lambda before, after: after > 2 * before),
        (blocks_shifted, "ridge_breaks", lambda before, after: after > before + 4),
        (faster_steps, "step_rate", lambda before, after: after > 1.08 * before),
        (changing_steps, "step_regularity", lambda before, after: after < 0.8 * before),
        (lambda levels: levels.roll(-10, dims=1), "torso_speed", lambda before, after: after > 1.1 * before),
        (lambda levels: levels + 0.1, "noise_floor", lambda before, after: after > 2 * before),
        (
            lambda levels: torch.nn.functional.avg_pool2d(levels, 5, 1, 2),
            "speckle",
            lambda before, after: after < 0.5 * before,
        ),
    ],
)
def test_broken_images_are_seen(
    real: list[Tensor],
    broken: Callable[[Tensor], Tensor],
    name: str,
    seen: Callable[[Tensor, Tensor], Tensor],
) -> None:
    levels = torch.cat(real)
    before, after = value(levels, name), value(broken(levels), name)
    assert torch.all(seen(before, after)), (before, after)


def test_step_rate_of_a_sine_is_exact() -> None:
    time = (torch.arange(200) + 0.5) / 200
    rates = torch.tensor([2.5, 4.25, 7.0])
    lines = 100 + 5 * torch.sin(6.2831853 * rates[:, None] * time + 1) + 20 * time
    found, share = step_rate(lines)
    torch.testing.assert_close(found, rates.double(), rtol=0, atol=0.04)
    assert torch.all(share > 0.99)


def test_levels_are_read_through_the_colour_map() -> None:
    levels = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("jet", "viridis"):
        images = levels_to_colours(levels, palette(name))
        torch.testing.assert_close(image_levels(images), levels[:, 0], rtol=0, atol=6 / 255)
    assert image_levels(torch.zeros(0, 3, 64, 64, dtype=torch.uint8)).shape == (0, 64, 64)
    assert measure(torch.zeros(0, 64, 64)).shape == (0, len(MEASURES))


def table(rows: int, **changed: float) -> Tensor:
    """Measures (rows, 8) of equal images."""
    usual = {"border_ratio_16": 1.0, "border_ratio_32": 1.0, "step_rate": 4.0, "step_regularity": 0.9}
    usual |= {"torso_speed": 0.2, "noise_floor": 0.02, "speckle": 0.02, "ridge_breaks": 0.0}
    return torch.tensor([[(usual | changed)[name] for name in MEASURES]] * rows, dtype=torch.float64)


def test_each_user_is_compared_with_their_own_images() -> None:
    users = torch.tensor([0, 0, 3, 3])
    train = torch.cat([table(2), table(2, step_rate=5.0)])
    generated = torch.cat([table(1), table(1, step_rate=4.3), table(2, step_rate=5.1, speckle=0.01)])
    results = compare_measures(generated, users, train, users, train, users)
    assert results["step_rate_share_user_0"] == 0.5
    assert results["step_rate_share_user_3"] == 1
    assert results["step_rate_share"] == 0.75
    assert results["step_rate_share_real"] == 1
    assert results["speckle_ratio"] == pytest.approx(0.75)
    assert results["speckle_ratio_user_3"] == pytest.approx(0.5)


def test_worst_measure_and_its_worst_user_lead() -> None:
    users = torch.tensor([0, 1])
    generated = torch.cat([table(1), table(1, border_ratio_32=4.0)])
    results = compare_measures(generated, users, table(2), users, table(2), users)
    found = summary(results)
    assert found["worst_measure"] == "border_ratio_32"
    assert found["bars_met"] == len(rank(results)) - 1
    assert worst_user(rank(results)[0][0], results) == 1
    narrowly = compare_measures(
        torch.cat([table(1), table(1, border_ratio_32=1.6)]), users, table(2), users, table(2), users
    )
    assert 1 < float(summary(narrowly)["worst_measure_score"]) < 1.5
    assert summary(narrowly)["bars_met"] == len(rank(narrowly)) - 1
    assert {bar.key for bar, _ in rank(results)} < {bar.key for bar in BARS}  # no classifier was asked


def test_scores_are_1_at_the_bar() -> None:
    assert Bar("a", "", "most", 0.3).score(0.3) == pytest.approx(1)
    assert Bar("a", "", "least", 0.9).score(0.9) == pytest.approx(1)
    ratio = Bar("a", "", "ratio", 1.15)
    assert ratio.score(0.85) == pytest.approx(1) == ratio.score(1.15)
    assert ratio.score(float("nan")) == float("inf")


def test_a_break_is_a_jump_of_more_than_four_rows() -> None:
    levels = torch.zeros(2, 256, 64)
    for image, jump in enumerate((4, 5)):
        levels[image, 100, :32] = levels[image, 100 + jump, 32:] = 1
    assert ridge_breaks(levels).tolist() == [0, 1]


def test_the_torso_line_ignores_single_outliers() -> None:
    levels = torch.zeros(1, 128, 64)
    levels[0, 60] = 1
    levels[0, :, 30] = 0
    levels[0, 20, 30] = 6  # survives the blur over five columns in its own column only
    line = torso_line(levels)
    assert (line - 60).abs().max() < 1


def test_speckle_is_the_standard_deviation_of_the_noise() -> None:
    levels = 0.5 + 0.1 * torch.randn(1, 128, 512, generator=torch.Generator().manual_seed(0))
    floor, speckle = noise(levels)
    assert float(floor) == pytest.approx(0.5, abs=0.02)
    assert float(speckle) == pytest.approx(0.1, rel=0.03)
