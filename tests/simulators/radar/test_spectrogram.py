"""The simulated walker and radar obey the physics they model."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from formats.errors import InputError
from simulators.radar.doppler import doppler_image, doppler_power, sharpest_window
from simulators.radar.gait import PARTS, Array, Walker, walk
from simulators.radar.spectrogram import (
    Radar,
    cross_sections,
    radar_return,
    vary,
    walking_image,
)

WALKERS = [
    Walker(),
    Walker(height=1.6, speed=0.85, arm_swing=0.5, asymmetry=-0.3),
    Walker(height=1.6, leg_ratio=0.49, speed=1.65, cadence=1.15, arm_swing=1.7, knee_lift=1.2, asymmetry=0.3),
    Walker(height=1.9, speed=1.65, cadence=0.87, knee_lift=0.8),
]
RATE = 1000.0


def moments(walker: Walker, cycles: float = 2.0) -> Array:
    return np.arange(0, cycles * walker.cycle_duration, 1 / RATE)


def power_of(walker: Walker, radar: Radar, aspect: float = 0.0, noise: bool = True) -> tuple[Array, Array, Array]:
    signal = radar_return(walker, radar, np.random.default_rng(3), aspect, start_phase=0.3, noise=noise)
    return doppler_power(signal, radar.image_settings)


# The walker


@pytest.mark.parametrize("walker", WALKERS)
def test_limbs_are_rigid_and_joined(walker: Walker) -> None:
    body = walk(walker, moments(walker), 0.4)
    near, far = body.ends()
    assert np.allclose(np.linalg.norm(body.along, axis=-1), 1)
    assert np.allclose(np.einsum("ktc,ktc->kt", body.along, body.front), 0)
    for side in ("left", "right"):
        for chain in (("upper_arm", "forearm", "hand"), ("thigh", "shank", "foot")):
            for above, below in pairwise(chain):
                joint = far[PARTS.index(f"{above}_{side}")], near[PARTS.index(f"{below}_{side}")]
                assert np.allclose(*joint, atol=1e-9)
    hip_to_ankle = near[PARTS.index("thigh_left")] - far[PARTS.index("shank_left")]
    assert np.linalg.norm(hip_to_ankle, axis=-1).max() < walker.leg


@pytest.mark.parametrize("walker", WALKERS)
def test_gait_is_periodic_and_advances_by_the_cycle_length(walker: Walker) -> None:
    times = np.linspace(0, walker.cycle_duration, 200)
    now = walk(walker, times, 0.2).centres
    later = walk(walker, times + walker.cycle_duration, 0.2).centres
    assert np.allclose(later - now, [walker.cycle_length, 0, 0], atol=1e-9)


def test_left_and_right_are_half_a_cycle_apart() -> None:
    walker = Walker(arm_swing=1.3)
    times = moments(walker)
    now = walk(walker, times).centres - [[[walker.speed, 0, 0]]] * times[:, None]
    later = walk(walker, times + walker.cycle_duration / 2).centres
    later -= [[[walker.speed, 0, 0]]] * (times + walker.cycle_duration / 2)[:, None]
    mirrored = [1.0, -1.0, 1.0]
    for part in ("hand", "thigh", "shank", "foot"):
        left, right = now[PARTS.index(f"{part}_left")], later[PARTS.index(f"{part}_right")]
        assert np.allclose(left, right * mirrored, atol=1e-6)
    uneven = walk(replace(walker, asymmetry=0.3), times).centres
    even = walk(walker, times).centres
    assert np.abs(uneven[PARTS.index("foot_left")] - even[PARTS.index("foot_left")]).max() > 0.02


@pytest.mark.parametrize("walker", WALKERS)
def test_feet_stand_still_in_stance_and_the_other_one_swings(walker: Walker) -> None:
    times = moments(walker)
    body = walk(walker, times)
    ankle = body.ends()[1][PARTS.index("shank_left")]
    phase = times / walker.cycle_duration % 1
    stance = (phase > 0.08) & (phase < walker.support - 0.2)
    speed = np.gradient(ankle[:, 0], times)
    assert np.abs(speed[stance]).max() < 0.02
    assert np.ptp(ankle[stance, 2]) < 0.06
    assert speed.max() > 2 * walker.speed
    assert ankle[:, 2].max() > ankle[stance, 2].mean() + 0.08


@pytest.mark.parametrize("walker", WALKERS)
def test_speeds_are_smooth_and_average_to_the_walkers(walker: Walker) -> None:
    times = moments(walker, 3)
    velocity = np.gradient(walk(walker, times).centres, times, axis=1)
    assert np.abs(np.diff(velocity[:, 2:-2], axis=1)).max() * RATE < 120  # m/s²; a jump of 0.2 m/s would be 200
    whole = walk(walker, np.array([0, 3 * walker.cycle_duration])).centres
    assert np.allclose((whole[:, 1] - whole[:, 0])[:, 0] / (3 * walker.cycle_duration), walker.speed)


def test_cycle_follows_boulic() -> None:
    walker = Walker(height=1.8, leg_ratio=0.5, speed=1.4)
    assert walker.cycle_length == pytest.approx(1.346 * np.sqrt(1.4 / 0.9) * 0.9)
    assert replace(walker, cadence=1.1).step_rate == pytest.approx(1.1 * walker.step_rate)


@pytest.mark.parametrize(
    "change", [{"speed": 0.0}, {"height": float("nan")}, {"speed": 2.0, "cadence": 0.8, "height": 1.4}]
)
def test_impossible_walkers_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Walker"):
        replace(Walker(), **change)


# The radar


def test_cross_section_of_a_sphere_and_of_the_chest() -> None:
    body = walk(Walker(), np.array([0.0, 0.1]))
    ball = replace(body, semi_axes=np.full_like(body.semi_axes, 0.2))
    assert np.allclose(cross_sections(ball, np.array([0.6, 0.8, 0.0])), np.pi * 0.2**2)
    a, b, c = body.semi_axes[PARTS.index("torso")]
    straight = replace(body, front=np.broadcast_to([1.0, 0.0, 0.0], body.front.shape))
    seen = cross_sections(straight, np.array([1.0, 0.0, 0.0]))[PARTS.index("torso")]
    assert np.allclose(seen, np.pi * b**2 * c**2 / a**2)


@pytest.mark.parametrize("carrier_ghz", [24.0, 77.0])
@pytest.mark.parametrize("aspect", [0.0, 35.0])
def test_torso_line_is_at_two_v_over_lambda(carrier_ghz: float, aspect: float) -> None:
    radar, walker = Radar(carrier_ghz=carrier_ghz), Walker(arm_swing=0.5)
    doppler, times, power = power_of(walker, radar, aspect)
    line = doppler[power.argmax(axis=0)]
    start = radar.image_settings.window_length / 2 / radar.sample_rate
    fine = np.arange(0, radar.duration + 0.2, 1e-3)
    torso = walk(walker, fine, 0.3).centres[PARTS.index("torso"), :, 0]
    expected = np.interp(times + start, fine, np.gradient(torso, fine))
    expected *= 2 * np.cos(np.radians(aspect)) / radar.wavelength
    bin_width = 1 / (radar.image_settings.window_length / radar.sample_rate)  # one bin of the window's own transform
    assert np.median(np.abs(line - expected)) < bin_width
    whole = times < int(radar.duration / walker.cycle_duration) * walker.cycle_duration
    mean = 2 * walker.speed * np.cos(np.radians(aspect)) / radar.wavelength
    assert abs(np.median(line[whole]) - mean) < bin_width


@pytest.mark.parametrize("carrier_ghz", [24.0, 77.0])
@pytest.mark.parametrize("walker", WALKERS)
def test_envelope_is_bounded_by_the_fastest_limb(walker: Walker, carrier_ghz: float) -> None:
    radar = Radar(carrier_ghz=carrier_ghz)
    doppler, _, clean = power_of(walker, radar, noise=False)
    noisy = power_of(walker, radar)[2]
    times = np.arange(0, radar.duration + 0.1, 1 / RATE)
    velocity = np.gradient(np.stack(walk(walker, times, 0.3).ends()), times, axis=2)[..., 0]
    fastest, slowest = velocity.max(), velocity.min()
    spread = 2 / np.pi / sharpest_window(radar.wavelength) * radar.wavelength / 2  # the window's, in m/s
    speed = doppler * radar.wavelength / 2
    inside = clean[(speed > 0.85 * fastest) & (speed < fastest)]
    above, below = clean[speed > fastest + spread], clean[speed < slowest - spread]
    assert inside.max() > -40
    assert above.max() < -45
    assert below.max() < -45
    # With noise, what is above the envelope is white: exponential power, the same at all speeds.
    floor = 10 ** (noisy[speed > fastest + spread] / 10)
    rows = floor.mean(axis=1)
    assert rows.max() / rows.min() < 2.5
    assert 0.3 < floor.std() / floor.mean() < 1.1
    assert -60 < 10 * np.log10(floor.mean()) < -36


def test_limbs_repeat_at_the_step_rate() -> None:
    radar = Radar(duration=6.0)
    for walker in (replace(WALKERS[0], speed=1.0), WALKERS[0], replace(WALKERS[2], asymmetry=0.0)):
        doppler, times, power = power_of(walker, radar)
        limbs = doppler > 2 * 1.7 * walker.speed / radar.wavelength
        envelope = (10 ** (power[limbs] / 10)).sum(axis=0)
        spectrum = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope)), 8192))
        rates = np.fft.rfftfreq(8192, times[1] - times[0])
        usual = (rates > 0.6) & (rates < 3.2)
        assert rates[usual][spectrum[usual].argmax()] == pytest.approx(walker.step_rate, rel=0.05)


def test_approaching_is_positive_and_up() -> None:
    radar = Radar()
    doppler, _, power = power_of(Walker(), radar)
    away = power_of(Walker(), radar, aspect=180.0)[2]
    assert doppler[power.max(axis=1).argmax()] > 0
    assert doppler[away.max(axis=1).argmax()] < 0
    image = doppler_image(doppler, power, radar.image_settings, "gray")[..., 0]
    row = image.mean(axis=1).argmax()
    speed = radar.high_speed + (radar.low_speed - radar.high_speed) * row / 255
    assert abs(speed - 1.3) < 0.35


def test_returned_arrays_and_limits() -> None:
    radar = Radar()
    signal = radar_return(Walker(), radar, np.random.default_rng(0))
    doppler, times, power = doppler_power(signal, radar.image_settings)
    assert signal.shape == (radar.num_samples,)
    assert power.shape == (len(doppler), 256)
    assert power.max() <= 0
    assert np.all(np.diff(doppler) > 0)
    assert times[-1] == pytest.approx(radar.duration, abs=0.03)
    image = walking_image(Walker(), radar, np.random.default_rng(0), "viridis")
    assert image.shape == (256, 256, 3)
    assert image.dtype == np.uint8
    with pytest.raises(InputError, match="jett"):
        walking_image(Walker(), radar, np.random.default_rng(0), "jett")
    with pytest.raises(InputError, match="alias"):
        radar_return(Walker(), Radar(max_speed=3.0, high_speed=3.0), np.random.default_rng(0))
    with pytest.raises(InputError, match="out of range"):
        Radar(carrier_ghz=0.0)


def test_snr_is_as_requested() -> None:
    radar = Radar(snr_db=6.0)
    clean = radar_return(Walker(), radar, np.random.default_rng(1), noise=False)
    noise = radar_return(Walker(), radar, np.random.default_rng(1)) - clean
    ratio = np.mean(np.abs(clean) ** 2) / np.mean(np.abs(noise) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(6.0, abs=0.2)


def test_same_seed_same_image() -> None:
    images = [walking_image(Walker(), Radar(), np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_walks_of_one_walker_vary_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    walks = [vary(Walker(), rng) for _ in range(300)]
    speeds = np.array([walked.speed for walked, _, _ in walks]) / Walker().speed
    aspects, phases = np.array([aspect for _, aspect, _ in walks]), np.array([phase for _, _, phase in walks])
    for drawn, low, high in ((speeds, 0.97, 1.03), (aspects, -20, 20), (phases, 0, 1)):
        assert low <= drawn.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < drawn.max() <= high
    assert all(replace(walked, speed=Walker().speed) == Walker() for walked, _, _ in walks)


def test_torso_is_the_bright_line_of_every_sample() -> None:
    radar, walker = Radar(), Walker()
    for seed in range(8):
        signal = radar_return(walker, radar, np.random.default_rng(seed))
        doppler, _, power = doppler_power(signal, radar.image_settings)
        line = doppler[power.argmax(axis=0)] * radar.wavelength / 2
        assert np.mean(np.abs(line - walker.speed) < 0.35) > 0.95
        assert np.median(power.max(axis=0)) > -6
    # Its parts never cancel: the return is about as strong for any phases drawn.
    clean = [radar_return(walker, radar, np.random.default_rng(seed), noise=False) for seed in range(12)]
    powers = [np.mean(np.abs(signal) ** 2) for signal in clean]
    assert max(powers) / min(powers) < 1.3


def test_images_have_a_window_per_column_where_samples_suffice() -> None:
    settings = Radar(carrier_ghz=24.0).image_settings
    assert settings.num_windows == 256
    assert settings.seconds == pytest.approx(256 * int(2.5 * settings.sample_rate / 256) / settings.sample_rate)
    assert replace(settings, sample_rate=100.0).num_windows == 250
    assert replace(settings, hop=50).num_windows == int(2.5 * settings.sample_rate / 50)
