"""Measures in plain units are those of the simulated walker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from formats.spectrogram_axes import SpectrogramAxes
from metrics.spectrogram_units import WALK_MEASURES, envelope_row, walk_measures
from simulators.radar.doppler import doppler_image, doppler_power
from simulators.radar.gait import Walker, walk
from simulators.radar.spectrogram import Radar, radar_return

RADAR = Radar()
AXES = SpectrogramAxes(RADAR.image_settings.seconds, RADAR.low_speed, RADAR.high_speed)


def image_of(walker: Walker) -> Tensor:
    doppler_hz, _, power_db = doppler_power(radar_return(walker, RADAR, np.random.default_rng(0)), RADAR.image_settings)
    return torch.from_numpy(doppler_image(doppler_hz, power_db, RADAR.image_settings)).movedim(-1, 0)


def test_measures_are_those_of_the_walkers() -> None:
    walkers = [Walker(speed=0.9, asymmetry=0.0), Walker(speed=1.3), Walker(speed=1.6, knee_lift=1.2)]
    table = walk_measures(torch.stack([image_of(walker) for walker in walkers]), AXES)
    assert table.shape == (3, len(WALK_MEASURES))
    for walker, row in zip(walkers, table.tolist(), strict=True):
        found = dict(zip(WALK_MEASURES, row, strict=True))
        assert found["torso_speed"] == pytest.approx(walker.speed, abs=0.06)
        assert found["step_rate"] == pytest.approx(walker.step_rate, rel=0.05)
        assert found["ridge_breaks"] <= 2
        times = np.arange(0, 2.5, 1e-3)
        tips = np.stack(walk(walker, times).ends())[..., 0]
        fastest = np.quantile(np.gradient(tips, times, axis=2).max(axis=(0, 1)), 0.9)
        assert found["envelope"] == pytest.approx(fastest, rel=0.12)


def test_units_follow_the_axes() -> None:
    image = image_of(Walker())[None]
    ours = dict(zip(WALK_MEASURES, walk_measures(image, AXES)[0].tolist(), strict=True))
    twice = SpectrogramAxes(2 * AXES.seconds, 2 * AXES.low_speed, 2 * AXES.high_speed)
    other = dict(zip(WALK_MEASURES, walk_measures(image, twice)[0].tolist(), strict=True))
    assert other["torso_speed"] == pytest.approx(2 * ours["torso_speed"])
    assert other["envelope"] == pytest.approx(2 * ours["envelope"])
    assert other["step_rate"] == pytest.approx(ours["step_rate"] / 2)
    assert other["ridge_breaks"] == ours["ridge_breaks"]


def test_envelope_is_the_top_of_what_is_above_the_noise() -> None:
    levels = 0.1 + 0.02 * torch.randn(1, 128, 100, generator=torch.Generator().manual_seed(0))
    levels[:, 60:] += 0.5
    levels[:, 20:, :20] = 0.6  # a fifth of the time
    assert float(envelope_row(levels)) * 128 == pytest.approx(20, abs=3)
    levels[:, 20:60, 5:20] = 0.1  # a twentieth
    assert float(envelope_row(levels)) * 128 == pytest.approx(60, abs=3)
