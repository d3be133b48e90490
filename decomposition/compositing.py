"""Layers laid over one another as every image editor does it, and the boxes that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decomposition.layer import Layer

Box = tuple[slice, slice]


def compose(layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Lay layers over one another by ordinary "source over" (Porter and Duff, 1984).

    Args:
        layers: Bottom to top, of one size; at least one.

    Returns:
        (H, W, 4) RGBA, not premultiplied; zeros where every layer is fully transparent.

    Raises:
        ValueError: There is no layer, or layers differ in size.
    """
    if not layers:
        raise ValueError("there is no layer to compose")
    shape = layers[0].pixels.shape
    colour = np.zeros((*shape[:2], 3), np.float32)  # premultiplied by alpha
    alpha = np.zeros((*shape[:2], 1), np.float32)
    for layer in layers:
        if layer.pixels.shape != shape:
            raise ValueError(f"layer {layer.name!r} has shape {layer.pixels.shape}, the lowest {shape}")
        box = bounding_box(layer.pixels[..., 3] > 0)
        over = layer.pixels[box].astype(np.float32)
        share = over[..., 3:] / np.float32(255)
        colour[box] += share * (over[..., :3] - colour[box])
        alpha[box] += share * (1 - alpha[box])
    np.divide(colour, alpha, out=colour, where=alpha > 0)
    composed = np.concatenate([colour, 255 * alpha], axis=2)
    return (composed + np.float32(0.5)).astype(np.uint8)


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Box:
    """Return the rows and columns that hold all of a mask (H, W); empty slices for an empty mask.

    Args:
        mask: (H, W).
        margin: Pixels to add on every side, as far as there are any.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return slice(int(top), int(rows[-1] + 1 + margin)), slice(int(left), int(columns[-1] + 1 + margin))


def filled_box(pixels: NDArray[np.uint8]) -> Box:
    """Return the rows and columns that hold all that is not fully transparent in (H, W, 4); at least one pixel."""
    box = bounding_box(pixels[..., 3] > 0)
    return box if box[0].stop else (slice(0, 1), slice(0, 1))
