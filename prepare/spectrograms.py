"""Spectrogram images of radar recordings, in the layout of the micro-Doppler task."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from formats.baseband import read_baseband
from formats.errors import InputError, check_settings
from formats.images import write_png
from formats.spectrogram_axes import SpectrogramAxes
from prepare.output_folder import claim_folder
from prepare.recording_folders import find_recordings
from simulators.radar.doppler import (
    COLORMAP,
    DYNAMIC_RANGE_DB,
    Complex,
    ImageSettings,
    colour_table,
    doppler_image,
    doppler_power,
    sharpest_window,
    wavelength_of,
)

RECORD = "recordings.json"


def spectrograms(
    recordings: Path,
    out: Path,
    prf: float,
    carrier_ghz: float,
    seconds: float = 2.5,
    stride: float | None = None,
    window_length: int | None = None,
    overlap: float | None = None,
    low_speed: float | None = None,
    high_speed: float | None = None,
    dynamic_range_db: float = DYNAMIC_RANGE_DB,
    colormap: str = COLORMAP,
    image_size: int = 256,
    range_gate: list[int] | None = None,
    transpose: bool = False,
    flip_doppler: bool = False,
    remove_static: bool = False,
    variable: str | None = None,
    val_share: float = 0.2,
    seed: int = 0,
) -> None:
    """Make spectrogram images of complex radar recordings (.npy, .npz, MATLAB .mat).

    Recordings are slow time (T,), range × slow time (R, T), or frames × range × Doppler (F, R, D) with zero Doppler in
    the middle. They lie in train/ID_<n>/ and val/ID_<n>/, as the images will, or in one folder per user, which are
    split by recording. Writes <out>/train/ID_<n>/<recording>_<001>.png, <out>/val/…, axes.json with time and speeds of
    an image, and recordings.json. A second run with the same settings writes missing images only.

    Args:
        recordings: Folder of the recordings.
        out: Folder of the images: new, empty, or written before with the same settings.
        prf: Pulse repetition frequency in Hz: samples of slow time per second.
        carrier_ghz: Carrier frequency in GHz, for example 24 or 77.
        seconds: Time across an image; rounded down to a whole number of samples per column.
        stride: Seconds from the start of an image to that of the next; by default images follow each other.
        window_length: Samples in the Gaussian window of the Fourier transform, whose standard deviation is a sixth of
            it; by default the one that shows a walker's limbs best, 30 ms at 77 GHz.
        overlap: Share of the window that is also in the next one, from 0 to below 1; columns are interpolated. By
            default there is one window per column.
        low_speed: Radial speed at the lower edge in m/s, negative for receding; by default the lowest unambiguous one.
        high_speed: Radial speed at the upper edge in m/s; by default the highest unambiguous one.
        dynamic_range_db: Range of the colours below an image's maximum in dB.
        colormap: A matplotlib colour map, such as jet or viridis.
        image_size: Height and width of the images in pixels.
        range_gate: First and last range bin, from 0, whose powers are added; by default all.
        transpose: Recordings are slow time × range.
        flip_doppler: The receiver shows approaching motion at negative Doppler shifts.
        remove_static: Subtract the mean of each range bin over an image's time: walls, and leakage of the transmitter.
        variable: Name of the array in .npz and .mat files; by default the only complex one.
        val_share: Share of each user's recordings for validation, where there are no folders train and val.
        seed: Seed of that choice.

    Raises:
        InputError: A setting or a recording cannot be used, or `out` holds other files.
    """
    settings = _image_settings(
        (prf, carrier_ghz, seconds), (window_length, overlap), (low_speed, high_speed), dynamic_range_db, image_size
    )
    colour_table(colormap)  # raises if there is no such map
    check_settings(
        {
            "--stride": ("above 0", stride is None or 0 < stride < np.inf),
            "--val_share": ("above 0 and below 1", 0 < val_share < 1),
            "--seed": ("at least 0", seed >= 0),
            "--range_gate": ("the first and the last bin, such as 12 20", range_gate is None or _is_gate(range_gate)),
        }
    )
    found = find_recordings(Path(recordings), val_share, seed)
    step = round((stride or settings.seconds) * prf)
    cutting = _Cutting(settings, max(1, step), range_gate, transpose, flip_doppler, remove_static, variable)
    for recording in found:  # before anything is written
        cutting.read(recording.path)

    axes = SpectrogramAxes(settings.seconds, settings.low_speed, settings.high_speed)
    record = {
        "recordings": {str(entry.path.relative_to(recordings)): entry.image_stem for entry in found},
        "prf": prf,
        "carrier_ghz": carrier_ghz,
        "window_length": settings.window_length,
        "window_step": settings.step,
        "image_step": cutting.step,
        "dynamic_range_db": dynamic_range_db,
        "colormap": colormap,
        "image_size": image_size,
        "range_gate": range_gate,
        "transpose": transpose,
        "flip_doppler": flip_doppler,
        "remove_static": remove_static,
        "variable": variable,
        "axes": axes.to_dict(),
    }
    out = Path(out)
    claim_folder(out, record, RECORD)
    axes.write(out)
    written = existed = 0
    for recording in found:
        for number, samples in enumerate(cutting.parts(recording.path), 1):
            path = out / f"{recording.image_stem}_{number:03d}.png"
            if path.exists():
                existed += 1
                continue
            doppler_hz, _, power_db = doppler_power(samples, settings)
            write_png(path, doppler_image(doppler_hz, power_db, settings, colormap))
            written += 1
    users = sorted({recording.user_id for recording in found})
    kept = f" ({existed} existed)" if existed else ""
    names = ", ".join(map(str, users))
    print(
        f"{out}: wrote {written} spectrograms of users {names} from {len(found)} recordings{kept}\n"
        f"each shows {axes.seconds:.3g} s and {axes.low_speed:.3g} … {axes.high_speed:.3g} m/s"
    )


def _is_gate(gate: list[int]) -> bool:
    return len(gate) == 2 and 0 <= gate[0] <= gate[1]


def _image_settings(
    timing: tuple[float, float, float],
    window: tuple[int | None, float | None],
    speeds: tuple[float | None, float | None],
    dynamic_range_db: float,
    image_size: int,
) -> ImageSettings:
    """Check the options, and return the settings of the images."""
    (prf, carrier_ghz, seconds), (window_length, overlap) = timing, window
    check_settings(
        {
            "--prf": ("above 0 Hz", 0 < prf < np.inf),
            "--carrier_ghz": ("from 1 to 300", 1 <= carrier_ghz <= 300),
            "--seconds": ("above 0", 0 < seconds < np.inf),
            "--window_length": ("at least 8", window_length is None or window_length >= 8),
            "--overlap": ("from 0 to below 1", overlap is None or 0 <= overlap < 1),
            "--dynamic_range_db": ("from 1 to 200", 1 <= dynamic_range_db <= 200),
            "--image_size": ("at least 16", image_size >= 16),
        }
    )
    wavelength = wavelength_of(carrier_ghz)
    highest = prf * wavelength / 4
    low, high = (speeds[0] if speeds[0] is not None else -highest), (speeds[1] if speeds[1] is not None else highest)
    if not -highest <= low < high <= highest:
        fault = (
            f"{low:g} … {high:g} m/s is not within the unambiguous speeds, ±{highest:.3g} m/s (PRF · wavelength / 4)"
        )
        raise InputError("--low_speed, --high_speed", fault, "Narrow the range, or correct --prf and --carrier_ghz.")
    deviation = window_length / 6 if window_length else sharpest_window(wavelength) * prf
    length = window_length or ceil(6 * deviation)
    hop = None if overlap is None else max(1, round((1 - overlap) * length))
    settings = ImageSettings(prf, wavelength, seconds, length, deviation, low, high, dynamic_range_db, image_size, hop)
    if settings.num_windows < 2:
        fault = f"{seconds:g} s hold {settings.num_windows} windows, but an image needs 2"
        raise InputError("--seconds", fault, "Choose a longer time or a larger --overlap.")
    if settings.step >= length:
        fault = f"is {length} samples, but windows are {settings.step} samples apart, so that some would be in none"
        raise InputError("--window_length", fault, "Choose a longer window, a shorter --seconds or an --overlap.")
    return settings


@dataclass(frozen=True)
class _Cutting:
    """Cuts recordings into the samples of images."""

    settings: ImageSettings
    step: int
    range_gate: list[int] | None
    transpose: bool
    flip_doppler: bool
    remove_static: bool
    variable: str | None

    def read(self, path: Path) -> Complex:
        """Read the gated range bins (R, T) of a recording.

        Raises:
            InputError: The recording cannot be read, is too short, or has no such range bins.
        """
        samples = np.atleast_2d(read_baseband(path, self.variable))
        if self.transpose and len(samples) > 1:
            samples = samples.T
        needed, rate = self.settings.num_samples, self.settings.sample_rate
        if samples.shape[1] < needed:
            fault = (
                f"holds {samples.shape[1]} samples of slow time ({samples.shape[1] / rate:.3g} s), but an image needs "
                f"{needed} ({needed / rate:.3g} s with half a window on either side)"
            )
            remedy = "Choose a shorter --seconds, or leave the file out."
            if len(samples) >= needed:
                remedy = "Pass --transpose true if the file is slow time × range."
            raise InputError(path, fault, remedy)
        if self.range_gate is None:
            return samples
        first, last = self.range_gate
        if last >= len(samples):
            fault = f"has {len(samples)} range bins, so that bins {first} to {last} are not all in it"
            raise InputError(path, fault, f"Choose a --range_gate within 0 … {len(samples) - 1}.")
        return samples[first : last + 1]

    def parts(self, path: Path) -> list[Complex]:
        """Return the samples (R, T) of each image of a recording."""
        samples, length = self.read(path), self.settings.num_samples
        if self.flip_doppler:
            samples = samples.conj()
        parts = [samples[:, start : start + length] for start in range(0, samples.shape[1] - length + 1, self.step)]
        return [part - part.mean(axis=1, keepdims=True) for part in parts] if self.remove_static else parts
