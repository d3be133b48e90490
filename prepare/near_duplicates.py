"""Images that look almost like another one, by the gradients of their thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from formats.images import read_rgb, resize_rgb

_SIDE = 16  # of the thumbnail
_LEAST_STEP = 2  # grey levels between adjacent pixels that count as a gradient
MAX_DIFFERENCE = 0.06  # share of a thumbnail's gradients that may differ between near-duplicates
MIN_DIFFERENCE = 4  # gradients that may differ in any case, where a thumbnail has few of them


def near_duplicates(images: Sequence[Path]) -> dict[Path, Path]:
    """Find the images that look almost like an earlier one.

    Two images are near-duplicates if the signs of the horizontal gradients of their thumbnails of 16 × 16 pixels
    agree but for a share of them, `MAX_DIFFERENCE`; brightness and size do not matter, colours do only through their
    lightness.

    Args:
        images: Files, in the order in which the first of a kind is kept.

    Returns:
        The first image of its kind by each image that is not the first.
    """
    kept: list[Path] = []
    signatures = np.zeros((len(images), 2 * _SIDE * _SIDE), np.bool_)
    result = {}
    for image in images:
        signature = _signature(image)
        differences = (signatures[: len(kept)] != signature).sum(1)
        if kept and differences.min() <= max(MIN_DIFFERENCE, MAX_DIFFERENCE * signature.sum()):
            result[image] = kept[int(differences.argmin())]
        else:
            signatures[len(kept)] = signature
            kept.append(image)
    return result


def _signature(image: Path) -> NDArray[np.bool_]:
    grey = resize_rgb(read_rgb(image), _SIDE, _SIDE + 1).mean(2)
    steps = np.diff(grey, axis=1)
    return np.concatenate([(steps > _LEAST_STEP).ravel(), (steps < -_LEAST_STEP).ravel()])
