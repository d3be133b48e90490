"""Tables of spectrograms with axes in seconds and metres per second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import Scale, contact_sheet
from formats.spectrogram_axes import SpectrogramAxes


def spectrogram_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8]]], axes: SpectrogramAxes | None, height: int
) -> NDArray[np.uint8]:
    """Draw spectrograms in labelled rows, as `contact_sheet` does.

    Args:
        rows: Label → images (H, W, 3).
        axes: Time and speeds of every image; None draws no axes.
        height: Height of a row in pixels.
    """
    across, up = scales(axes)
    return contact_sheet(rows, height=height, across=across, up=up)


def scales(axes: SpectrogramAxes | None) -> tuple[Scale | None, Scale | None]:
    """Return the scales along width and height of spectrograms, or None where the axes are not known."""
    if axes is None:
        return None, None
    return Scale(0.0, axes.seconds, "s"), Scale(axes.low_speed, axes.high_speed, "m/s")
