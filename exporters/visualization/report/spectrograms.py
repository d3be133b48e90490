"""Section of a report on spectrograms: real and generated ones of each user, with axes, and a table of measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.visualization.report.page import Section, image_uri
from exporters.visualization.spectrogram_sheet import scales
from formats.spectrogram_axes import SpectrogramAxes

MAX_ROWS = 40


@dataclass(frozen=True)
class SpectrogramRow:
    """Spectrograms of a user.

    Attributes:
        user: ID as in the folder names.
        kind: ``real`` or ``generated``.
        images: (H, W, 3) uint8 each.
    """

    user: int
    kind: str
    images: Sequence[NDArray[np.uint8]]


def spectrograms_section(
    title: str,
    rows: Sequence[SpectrogramRow],
    axes: SpectrogramAxes | None,
    measures: str = "",
    before: str = "",
    max_bytes: int = 3_000_000,
) -> Section:
    """Return a section of spectrograms, real above generated, with the values under the pointer.

    Args:
        title: Heading.
        rows: In their order; at most 40 are shown.
        axes: Time and speeds of every image; None draws no axes.
        measures: HTML below the images, such as tables of measures.
        before: HTML above the images.
        max_bytes: Size of the images; of larger ones fewer are shown.
    """
    across, up = scales(axes)
    shown, left = rows[:MAX_ROWS], max_bytes
    images: list[list[str]] = [[] for _ in shown]
    for count in range(max((len(row.images) for row in shown), default=0)):
        for row, sources in zip(shown, images, strict=True):
            if count < len(row.images) and left > 0:
                source = image_uri(row.images[count], 512)
                left -= len(source)
                sources.append(source)
    entries = [
        {"user": row.user, "title": f"User {row.user}, {row.kind}", "images": sources}
        for row, sources in zip(shown, images, strict=True)
    ]
    data = {
        "rows": entries,
        "axes": axes.to_dict() if axes else None,
        "across": across.ticks() if across else [],
        "up": up.ticks() if up else [],
    }
    return Section(title, before, "spectrograms", data, measures, first=True)


def values_by_user(values: Mapping[str, Mapping[int, float]]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table of measures (name → user → value), a row per measure."""
    users = sorted({user for by_user in values.values() for user in by_user})
    header = ["measure", *(f"user {user}" for user in users)]
    rows = [[name, *(_text(by_user.get(user)) for user in users)] for name, by_user in values.items()]
    return header, rows


def _text(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.2f}"
