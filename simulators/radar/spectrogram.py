"""Micro-Doppler spectrogram of a walking person seen by a continuous-wave radar.

After V. C. Chen, "The Micro-Doppler Effect in Radar", 2nd ed., 2019, chapters 1 and 4: body parts are
ellipsoids, the return is their sum Σ √σ_i exp(−j 4π r_i(t) / λ) plus noise, and its short-time Fourier
transform shows each part's radial speed as a Doppler shift 2 v / λ, positive when approaching.

Example::

    rng = np.random.default_rng(0)
    image = walking_image(Walker.draw(rng), Radar(carrier_ghz=77.0), rng)  # uint8 (256, 256, 3)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from formats.errors import InputError
from simulators.radar.doppler import (
    COLORMAP,
    DYNAMIC_RANGE_DB,
    Complex,
    ImageSettings,
    doppler_image,
    doppler_power,
    sharpest_window,
    wavelength_of,
)
from simulators.radar.gait import Array, Body, Walker, walk

MAX_ASPECT = 20.0  # degrees, drawn per sample
MAX_SPEED_CHANGE = 0.03  # fraction of the walker's speed, drawn per sample
POINTS = (1, 1, 1) + 2 * (3, 4, 2, 4, 14, 5)  # scatterers per part, more where speeds differ along it
KINEMATICS_HZ = 400.0  # limbs move below 20 Hz; between these samples a cubic spline is exact to micrometres


@dataclass(frozen=True)
class Radar:
    """A continuous-wave radar with complex (I/Q) samples, and the settings of its spectrogram.

    Args:
        carrier_ghz: Carrier frequency in GHz, 5…300; 24 and 77 are the usual bands.
        duration: Duration of a spectrogram in seconds, 0.5…60.
        max_speed: Radial speed in m/s up to which the samples are unambiguous; sets the sample rate.
        snr_db: Ratio of the mean powers of the body's return and of the noise, per sample, in dB.
        dynamic_range_db: Range of the colour map in dB below the maximum.
        low_speed: Radial speed at the lower edge of the image in m/s, negative for receding.
        high_speed: Radial speed at the upper edge of the image in m/s.
    """

    carrier_ghz: float = 77.0
    duration: float = 2.5
    max_speed: float = 7.0
    snr_db: float = 18.0
    dynamic_range_db: float = DYNAMIC_RANGE_DB
    low_speed: float = -1.5
    high_speed: float = 6.0

    def __post_init__(self) -> None:
        ranges = {"carrier_ghz": (5.0, 300.0), "duration": (0.5, 60.0), "dynamic_range_db": (1.0, 200.0)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                fault = f"{getattr(self, name)!r} is out of range"
                raise InputError(f"Radar.{name}", fault, f"Give a number from {low:g} to {high:g}.")
        if not -self.max_speed <= self.low_speed < self.high_speed <= self.max_speed:
            fault = f"{self.low_speed:g}…{self.high_speed:g} m/s is not a range within ±max_speed"
            raise InputError("Radar.low_speed, high_speed", fault, "Widen max_speed or narrow the range shown.")

    @property
    def wavelength(self) -> float:
        """λ in metres."""
        return wavelength_of(self.carrier_ghz)

    @property
    def sample_rate(self) -> float:
        """Samples per second: twice the Doppler shift at ``max_speed``, so that speeds up to ± that are unambiguous."""
        return float(ceil(4 * self.max_speed / self.wavelength))

    @property
    def image_settings(self) -> ImageSettings:
        """Settings of its images, whose window is six deviations long."""
        deviation = sharpest_window(self.wavelength)
        return ImageSettings(
            self.sample_rate,
            self.wavelength,
            self.duration,
            ceil(6 * deviation * self.sample_rate),
            deviation * self.sample_rate,
            self.low_speed,
            self.high_speed,
            self.dynamic_range_db,
        )

    @property
    def num_samples(self) -> int:
        """Number of samples in a signal."""
        return self.image_settings.num_samples


def vary(walker: Walker, rng: np.random.Generator) -> tuple[Walker, float, float]:
    """Draw one walk: ``walker`` at a slightly different speed, aspect in degrees, start phase in cycles."""
    change = rng.uniform(-MAX_SPEED_CHANGE, MAX_SPEED_CHANGE)
    aspect = rng.uniform(-MAX_ASPECT, MAX_ASPECT)
    return replace(walker, speed=walker.speed * (1 + change)), float(aspect), float(rng.uniform())


def cross_sections(body: Body, line_of_sight: Array) -> Array:
    """Compute the radar cross-section of every ellipsoid, (K, T) in m².

    σ = π a² b² c² / (a² u_a² + b² u_b² + c² u_c²)², with half axes a, b, c and the line of sight u in the
    ellipsoid's own axes (Chen, sec. 2.2; Trott, IEEE Trans. Antennas Propag. 55, 2007).
    """
    front, along = (body.front @ line_of_sight) ** 2, (body.along @ line_of_sight) ** 2
    a2, b2, c2 = (body.semi_axes.T**2)[:, :, None]
    sections: Array = np.pi * a2 * b2 * c2 / (a2 * front + b2 * (1 - front - along) + c2 * along) ** 2
    return sections


def radar_return(
    walker: Walker,
    radar: Radar,
    rng: np.random.Generator,
    aspect: float = 0.0,
    start_phase: float = 0.0,
    noise: bool = True,
) -> Complex:
    """Simulate the complex baseband return of an approaching walker.

    A limb's tip moves faster than its centre, so every limb is several points along its axis which share its
    cross-section; head, torso and pelvis are one point each.

    Args:
        walker: The person.
        radar: The radar, far away at the height of the body.
        rng: Random generator for the scatterers' phases, then the noise.
        aspect: Angle between walking direction and line of sight in degrees.
        start_phase: Phase of the gait cycle at the first sample, in cycles.
        noise: Whether to add complex white Gaussian noise at ``radar.snr_db``.

    Returns:
        (T,) complex samples at ``radar.sample_rate``, T = ``radar.num_samples``.

    Raises:
        InputError: A body part is faster than ``radar.max_speed`` and would alias.
    """
    times = np.arange(radar.num_samples) / radar.sample_rate
    coarse = np.linspace(0.0, times[-1], ceil(times[-1] * KINEMATICS_HZ) + 1)
    body = walk(walker, coarse, start_phase)
    line_of_sight = np.array([np.cos(np.radians(aspect)), np.sin(np.radians(aspect)), 0.0])
    # Towards the radar in metres, (K, T): the parts' centres, and from there to their far tips.
    centre, reach = body.centres @ line_of_sight, body.along @ line_of_sight * body.semi_axes[:, 2:]
    fastest = np.abs(np.diff([centre - reach, centre + reach])).max() / coarse[1]
    if fastest > radar.max_speed:
        fault = f"a limb reaches {fastest:.1f} m/s and would alias above max_speed {radar.max_speed:g} m/s"
        raise InputError("Radar.max_speed", fault, "Raise max_speed or lower the walker's speed.")

    amplitude = np.sqrt(cross_sections(body, line_of_sight) / np.array(POINTS)[:, None])
    turns = 2 / radar.wavelength  # of phase per metre, for the way there and back
    curves = CubicSpline(coarse, np.concatenate([turns * centre, turns * reach, amplitude]).T)(times)
    centre, reach, amplitude = np.split(np.ascontiguousarray(curves.T), 3)
    centre -= np.round(centre)  # removes whole turns in float64, so that float32 is enough for the rest
    trunk_phase = rng.uniform(size=1)
    signal = np.zeros(len(times), np.complex128)
    for part, points in enumerate(POINTS):
        # Head, torso and pelvis move as one and share a phase, since different phases might cancel them.
        phases = trunk_phase if part < 3 else rng.uniform(size=points)
        offsets = (2 * np.arange(points) + 1) / points - 1  # along the part's axis, −1…1
        cycles = centre[part] + np.multiply.outer(offsets, reach[part]) + phases[:, None]
        angle = (2 * np.pi * cycles).astype(np.float32)  # −4π r / λ with r = constant − approach
        signal += amplitude[part] * (np.cos(angle).sum(axis=0) + 1j * np.sin(angle).sum(axis=0))
    if noise:
        power = np.mean(np.abs(signal) ** 2) / 10 ** (radar.snr_db / 10)
        white = rng.standard_normal((2, len(signal)))
        signal = signal + np.sqrt(power / 2) * (white[0] + 1j * white[1])
    return signal


def walking_image(
    walker: Walker, radar: Radar, rng: np.random.Generator, colormap: str = COLORMAP
) -> NDArray[np.uint8]:
    """Draw one sample of a user: the image of a walk drawn by ``vary``, uint8 (256, 256, 3)."""
    walked, aspect, start_phase = vary(walker, rng)
    signal, settings = radar_return(walked, radar, rng, aspect, start_phase), radar.image_settings
    doppler_hz, _, power_db = doppler_power(signal, settings)
    return doppler_image(doppler_hz, power_db, settings, colormap)
