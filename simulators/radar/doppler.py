"""From complex baseband samples to a spectrogram image: short-time Fourier transform, decibels, colours.

The simulator and `prepare spectrograms` share these steps, so that simulated and recorded walks have the same images.

Example::

    settings = ImageSettings(7192.0, wavelength_of(77.0), duration=2.5, window_length=216, window_deviation=36.0)
    doppler_hz, times, power_db = doppler_power(signal, settings)     # (T,) complex
    image = doppler_image(doppler_hz, power_db, settings, "jet")      # uint8 (256, 256, 3)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import matplotlib
import numpy as np
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import gaussian

from formats.errors import InputError

SPEED_OF_LIGHT = 299_792_458.0
COLORMAP = "jet"  # of spectrogram images; any of matplotlib's
DYNAMIC_RANGE_DB = 40.0  # of the colours, below the maximum
TYPICAL_ACCELERATION = 12.0  # m/s², between the swinging foot's ≈ 50 and the torso's ≈ 2

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def wavelength_of(carrier_ghz: float) -> float:
    """Return λ in metres."""
    return SPEED_OF_LIGHT / (carrier_ghz * 1e9)


def sharpest_window(wavelength: float) -> float:
    """Return the standard deviation in seconds of the Gaussian window that shows a walker's limbs best.

    A limb of acceleration a is a chirp of rate 2a/λ, sharpest under a window of deviation √(λ / 4πa). With
    ``TYPICAL_ACCELERATION`` that is 5 ms at 77 GHz, where its spectrum has a deviation of 31 Hz, 6 cm/s.
    """
    return sqrt(wavelength / (4 * np.pi * TYPICAL_ACCELERATION))


@dataclass(frozen=True)
class ImageSettings:
    """Settings of a spectrogram image.

    Args:
        sample_rate: Samples per second: the pulse repetition frequency.
        wavelength: λ of the carrier in metres.
        duration: Time across an image in seconds. The shown time, ``seconds``, is a whole number of ``step``.
        window_length: Number of samples in the Gaussian window.
        window_deviation: Its standard deviation in samples.
        low_speed: Radial speed at the lower edge in m/s, negative for receding.
        high_speed: Radial speed at the upper edge in m/s.
        dynamic_range_db: Range of the colours in dB below the maximum.
        size: Height and width of the image in pixels.
        hop: Samples from one window to the next; None makes one window per image column.
    """

    sample_rate: float
    wavelength: float
    duration: float
    window_length: int
    window_deviation: float
    low_speed: float = -1.5
    high_speed: float = 6.0
    dynamic_range_db: float = DYNAMIC_RANGE_DB
    size: int = 256
    hop: int | None = None

    @property
    def step(self) -> int:
        """Samples from one window to the next."""
        return self.hop or max(1, int(self.duration * self.sample_rate / self.size))

    @property
    def num_windows(self) -> int:
        """Number of windows in an image; where it is not the image's width, columns are interpolated."""
        fitting = int(self.duration * self.sample_rate / self.step)
        return fitting if self.hop else min(self.size, fitting)

    @property
    def seconds(self) -> float:
        """Time that an image shows."""
        return self.num_windows * self.step / self.sample_rate

    @property
    def num_samples(self) -> int:
        """Samples needed for an image: ``duration`` and half a window on either side, for the outer columns."""
        return round(self.duration * self.sample_rate) + self.window_length


def doppler_power(signals: Complex, settings: ImageSettings) -> tuple[Array, Array, Array]:
    """Compute the power of the short-time Fourier transform.

    Args:
        signals: (T,) complex samples, or (R, T) of R range bins, whose powers are added; T at least
            ``settings.num_samples``.
        settings: Settings of the image.

    Returns:
        Doppler shift (F,) in Hz, ascending through 0; time (W,) in seconds after half a window from the signal's
        start; power (F, W) in dB relative to the maximum, at most 0. W is ``settings.num_windows``.
    """
    length, hop, count = settings.window_length, settings.step, settings.num_windows
    window = gaussian(length, settings.window_deviation)
    bins = 1 << ceil(np.log2(1.5 * length))
    stft = ShortTimeFFT(window, hop, settings.sample_rate, fft_mode="centered", mfft=bins)
    first = ceil(length / 2 / hop)
    power = sum(stft.spectrogram(row, p0=first - 1, p1=first + count + 1) for row in np.atleast_2d(signals))
    power = (power[:, :-2] + 2 * power[:, 1:-1] + power[:, 2:]) / 4  # averages neighbouring columns against speckle
    times = (first + np.arange(count)) * hop / settings.sample_rate - length / 2 / settings.sample_rate
    decibels = 10 * np.log10(np.maximum(power / max(power.max(), np.finfo(float).tiny), 1e-12))
    return stft.f, times, decibels


def doppler_image(
    doppler_hz: Array, power_db: Array, settings: ImageSettings, colormap: str = COLORMAP
) -> NDArray[np.uint8]:
    """Render a spectrogram with a colour map, as is usual: time to the right, approaching speed upward.

    Args:
        doppler_hz: (F,) ascending Doppler shifts in Hz, positive for approaching.
        power_db: (F, W) power in dB relative to the maximum.
        settings: Settings of the image.
        colormap: A matplotlib colour map: ``jet``, ``viridis``, ``turbo`` …

    Returns:
        (size, size, 3) uint8. Row 0 is ``high_speed``, the last row ``low_speed``.
    """
    speeds = np.linspace(settings.high_speed, settings.low_speed, settings.size)
    rows = _at(power_db, np.interp(2 * speeds / settings.wavelength, doppler_hz, np.arange(len(doppler_hz))))
    if rows.shape[1] != settings.size:
        rows = _at(rows.T, np.linspace(0, rows.shape[1] - 1, settings.size)).T
    level = np.clip(1 + rows / settings.dynamic_range_db, 0.0, 1.0)
    image: NDArray[np.uint8] = colour_table(colormap)[np.round(255 * level).astype(np.uint8)]
    return image


def _at(values: Array, position: Array) -> Array:
    """Interpolate rows of values (F, W) linearly at positions (S,) → (S, W)."""
    below = np.minimum(position.astype(int), len(values) - 2)
    weight = (position - below)[:, None]
    rows: Array = (1 - weight) * values[below] + weight * values[below + 1]
    return rows


@lru_cache
def colour_table(colormap: str) -> NDArray[np.uint8]:
    """Return the colours (256, 3) of a matplotlib colour map.

    Raises:
        InputError: There is no such colour map.
    """
    if colormap not in matplotlib.colormaps:
        raise InputError("colormap", f"matplotlib does not have {colormap!r}", "Use jet, viridis, turbo or another.")
    table = matplotlib.colormaps[colormap](np.linspace(0, 1, 256))[:, :3]
    colours: NDArray[np.uint8] = np.round(255 * table).astype(np.uint8)
    return colours
