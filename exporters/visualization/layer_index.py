"""Images of a layer index and of its error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from exporters.visualization.contact_sheet import contact_sheet
from exporters.visualization.depth import INVALID
from geometry.arrays import bool_array, float_array

COLOURS = "inferno"  # lightness rises evenly over the whole range, which shows order and separates neighbours
MAX_DIFFERENCE = 0.5  # end of the colour scale; fixed, so that images of different runs can be compared

LEGEND = (
    "Index: from black (0, the background) to pale yellow (1, the foremost); the prediction is aligned to the median "
    "and the spread of the true index. Difference: predicted − true, red where the prediction is too far to the front, "
    f"blue where it is too far to the back, darkest from {MAX_DIFFERENCE}. Grey: masked."
)

_CAPTIONS = ("input", "true index", "predicted index", "difference")
_TOO_FAR_BACK, _TOO_FAR_FRONT = ((5, 48, 97), (67, 147, 195)), ((214, 96, 77), (103, 0, 31))  # of a "RdBu" scale
_MAX_NAME_LENGTH = 24  # characters


def colour_index(index: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None) -> NDArray[np.uint8]:
    """Colour a layer index from black (0, the background) to pale yellow (1, the foremost).

    Args:
        index: (H, W), 0…1; other values are clipped.
        mask: (H, W) bool, valid pixels; None takes all that are finite.

    Returns:
        (H, W, 3); dark grey where masked.

    Raises:
        ValueError: The index is not (H, W), or the mask has another shape.
    """
    values, counted = _masked(index, mask)
    rgba: NDArray[np.uint8] = colormaps[COLOURS](np.clip(np.where(counted, values, 0), 0, 1), bytes=True)
    image = rgba[..., :3].copy()
    image[~counted] = INVALID
    return image


def index_to_16bit(index: Tensor | ArrayLike) -> NDArray[np.uint16]:
    """Convert a layer index in 0…1 to 0…65535, rounding halves up.

    Args:
        index: (H, W); values outside 0…1 are clipped.

    Raises:
        ValueError: A value is NaN.
    """
    values = float_array(index)
    if np.isnan(values).any():
        raise ValueError("the layer index must not contain NaN")
    return np.floor(np.clip(values, 0, 1) * 65535 + 0.5).astype(np.uint16)


def aligned_index(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None
) -> NDArray[np.float64]:
    """Align a predicted index to the median and the spread of the true one.

    The loss and the metrics compare maps after subtracting the median and dividing by the mean absolute deviation
    from it, so the offset and the positive scale of a prediction are arbitrary; this removes exactly these two. The
    scale is never negative: a prediction of reversed order stays reversed.

    Args:
        predicted: (H, W), any range; a constant one becomes the true median.
        true: (H, W).
        mask: (H, W) bool, pixels for medians and spreads; None takes all that are finite in both.

    Returns:
        (H, W), not clipped to the range of the true index.

    Raises:
        ValueError: The shapes differ.
    """
    guess, truth, counted = _pair(predicted, true, mask)
    if not counted.any():
        return guess
    guess_median, truth_median = np.median(guess[counted]), np.median(truth[counted])
    guess_spread = np.abs(guess[counted] - guess_median).mean()
    truth_spread = np.abs(truth[counted] - truth_median).mean()
    scale = truth_spread / guess_spread if guess_spread > 1e-9 else 0.0
    return np.asarray((guess - guess_median) * scale + truth_median)


def difference_image(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Colour predicted − true, after `aligned_index`: red too far to the front, blue too far to the back.

    Args:
        predicted: (H, W), any range.
        true: (H, W), 0…1.
        mask: (H, W) bool, valid pixels; None takes all that are finite in both.

    Returns:
        (H, W, 3), on a fixed scale up to ±0.5; dark grey where masked.

    Raises:
        ValueError: The shapes differ.
    """
    _, truth, counted = _pair(predicted, true, mask)
    difference = np.where(counted, aligned_index(predicted, true, mask) - truth, 0) / MAX_DIFFERENCE
    stops = np.array([*_TOO_FAR_BACK, (255, 255, 255), *_TOO_FAR_FRONT])
    positions = np.linspace(-1, 1, len(stops))
    channels = [np.interp(difference, positions, stops[:, channel]) for channel in range(3)]
    image = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
    image[~counted] = INVALID
    return image


def layer_index_sheet(
    images: Tensor | ArrayLike,
    true: Tensor | ArrayLike,
    predicted: Tensor | ArrayLike,
    masks: Tensor | ArrayLike | None = None,
    names: Sequence[str] | None = None,
    height: int = 240,
) -> NDArray[np.uint8]:
    """Draw a row per image: input, true index, predicted index (aligned to the true one) and their difference.

    Args:
        images: (B, 3, H, W) uint8.
        true: (B, H, W) or (B, 1, H, W), 0…1.
        predicted: Like ``true``, any range.
        masks: Like ``true``, bool, valid pixels; None takes all that are finite in both.
        names: B labels; None numbers the rows.
        height: Height of a row in pixels.

    Returns:
        (H, W, 3), on white.

    Raises:
        ValueError: The shapes do not fit together.
    """
    inputs = float_array(images).astype(np.uint8).transpose(0, 2, 3, 1)
    shape = inputs.shape[:3]
    truths, guesses = (float_array(maps).reshape(shape) for maps in (true, predicted))
    counted = np.ones(shape, dtype=np.bool_) if masks is None else bool_array(masks).reshape(shape)
    labels = [str(number) for number in range(1, len(inputs) + 1)] if names is None else list(names)
    rows: dict[str, list[NDArray[np.uint8] | None]] = {}
    for label, image, truth, guess, mask in zip(labels, inputs, truths, guesses, counted, strict=True):
        columns: list[NDArray[np.uint8] | None] = [
            image,
            colour_index(truth, mask),
            colour_index(aligned_index(guess, truth, mask), mask),
        ]
        rows[_distinct(shortened(label), rows)] = [*columns, difference_image(guess, truth, mask)]
    return contact_sheet(rows, _CAPTIONS, height)


def shortened(name: str) -> str:
    """Shorten a name to its last characters, so that it fits above an image."""
    return name if len(name) <= _MAX_NAME_LENGTH else "…" + name[1 - _MAX_NAME_LENGTH :]


def _distinct(label: str, rows: dict[str, list[NDArray[np.uint8] | None]]) -> str:
    """Append a number to a label that another row already has."""
    number, distinct = 1, label
    while distinct in rows:
        number += 1
        distinct = f"{label} ({number})"
    return distinct


def _masked(
    values: Tensor | ArrayLike, mask: Tensor | ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    numbers = float_array(values)
    if numbers.ndim != 2:
        raise ValueError(f"a layer index must be (H, W), not {numbers.shape}")
    counted = np.isfinite(numbers)
    if mask is None:
        return numbers, counted
    valid = bool_array(mask)
    if valid.shape != numbers.shape:
        raise ValueError(f"the mask has shape {valid.shape}, the layer index {numbers.shape}")
    return numbers, counted & valid


def _pair(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    truth, counted = _masked(true, mask)
    guess, finite = _masked(predicted, None)
    if guess.shape != truth.shape:
        raise ValueError(f"the predicted index has shape {guess.shape}, the true one {truth.shape}")
    return guess, truth, counted & finite
