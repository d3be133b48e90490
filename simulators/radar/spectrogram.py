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
from functools import lru_cache
from math import ceil, sqrt

import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import gaussian

from formats.errors import InputError
from simulators.radar.gait import Array, Body, Walker, walk

SPEED_OF_LIGHT = 299_792_458.0
Complex = NDArray[np.complex128]

COLORMAP = "jet"  # of spectrogram images; any of matplotlib's
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
    dynamic_range_db: float = 40.0
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
        return SPEED_OF_LIGHT / (self.carrier_ghz * 1e9)

    @property
    def sample_rate(self) -> float:
        """Samples per second: twice the Doppler shift at ``max_speed``, so that speeds up to ± that are unambiguous."""
        return float(ceil(4 * self.max_speed / self.wavelength))

    @property
    def window_deviation(self) -> float:
        """Standard deviation of the Gaussian window in seconds.

        A limb of acceleration a is a chirp of rate 2a/λ, sharpest under a window of deviation √(λ / 4πa).
        Taken for a = 12 m/s², between the swinging foot's ≈ 50 and the torso's ≈ 2: 5 ms at 77 GHz, where its
        spectrum has a deviation of 31 Hz, 6 cm/s.
        """
        return sqrt(self.wavelength / (4 * np.pi * 12.0))

    @property
    def window_length(self) -> int:
        """Number of samples in the window, six deviations."""
        return ceil(6 * self.window_deviation * self.sample_rate)

    @property
    def num_samples(self) -> int:
        """Number of samples in a signal: ``duration`` and half a window on either side, for the outer columns."""
        return round(self.duration * self.sample_rate) + self.window_length


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


def spectrogram(signal: Complex, radar: Radar, columns: int = 256) -> tuple[Array, Array, Array]:
    """Compute the power of the short-time Fourier transform.

    Args:
        signal: (T,) complex samples from ``radar_return``.
        radar: The radar that made them.
        columns: Number of time steps in ``radar.duration``.

    Returns:
        Doppler shift (F,) in Hz, ascending through 0, approaching positive; time (columns,) in seconds after
        half a window from the signal's start; power (F, columns) in dB relative to the maximum, at most 0.
    """
    length = radar.window_length
    window = gaussian(length, radar.window_deviation * radar.sample_rate)
    hop = int(radar.duration * radar.sample_rate / columns)
    bins = 1 << ceil(np.log2(1.5 * length))
    stft = ShortTimeFFT(window, hop, radar.sample_rate, fft_mode="centered", mfft=bins)
    first = ceil(length / 2 / hop)
    power = stft.spectrogram(signal, p0=first - 1, p1=first + columns + 1)
    power = (power[:, :-2] + 2 * power[:, 1:-1] + power[:, 2:]) / 4  # averages neighbouring columns against speckle
    times = (first + np.arange(columns)) * hop / radar.sample_rate - length / 2 / radar.sample_rate
    decibels = 10 * np.log10(np.maximum(power / power.max(), 1e-12))
    return stft.f, times, decibels


def spectrogram_image(
    doppler_hz: Array, power_db: Array, radar: Radar, size: int = 256, colormap: str = COLORMAP
) -> NDArray[np.uint8]:
    """Render a spectrogram with a colour map, as is usual: time to the right, approaching speed upward.

    Args:
        doppler_hz: (F,) ascending Doppler shifts in Hz.
        power_db: (F, W) power in dB relative to the maximum.
        radar: Radar that sets the speed axis, the same for all images, and the dynamic range.
        size: Height of the image; its width is W.
        colormap: A matplotlib colour map: ``jet``, ``viridis``, ``turbo`` …

    Returns:
        (size, W, 3) uint8. Row 0 is ``radar.high_speed``, the last row ``radar.low_speed``.
    """
    speeds = np.linspace(radar.high_speed, radar.low_speed, size)
    position = np.interp(2 * speeds / radar.wavelength, doppler_hz, np.arange(len(doppler_hz)))
    below = np.minimum(position.astype(int), len(doppler_hz) - 2)
    weight = (position - below)[:, None]
    rows = (1 - weight) * power_db[below] + weight * power_db[below + 1]
    level = np.clip(1 + rows / radar.dynamic_range_db, 0.0, 1.0)
    image: NDArray[np.uint8] = _colours(colormap)[np.round(255 * level).astype(np.uint8)]
    return image


@lru_cache
def _colours(colormap: str) -> NDArray[np.uint8]:
    if colormap not in matplotlib.colormaps:
        raise InputError("colormap", f"matplotlib does not have {colormap!r}", "Use jet, viridis, turbo or another.")
    table = matplotlib.colormaps[colormap](np.linspace(0, 1, 256))[:, :3]
    colours: NDArray[np.uint8] = np.round(255 * table).astype(np.uint8)
    return colours


def walking_image(
    walker: Walker, radar: Radar, rng: np.random.Generator, colormap: str = COLORMAP
) -> NDArray[np.uint8]:
    """Draw one sample of a user: the image of a walk drawn by ``vary``, uint8 (256, 256, 3)."""
    walked, aspect, start_phase = vary(walker, rng)
    doppler_hz, _, power_db = spectrogram(radar_return(walked, radar, rng, aspect, start_phase), radar)
    return spectrogram_image(doppler_hz, power_db, radar, colormap=colormap)
