"""Compositing of layers, and their bounding boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decomposition.layer import Layer

Box = tuple[slice, slice]


def compose(layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Composite layers by "source over" (Porter and Duff, 1984).

    Args:
        layers: At least one layer, bottom to top, all of one size.

    Returns:
        (H, W, 4) RGBA, not premultiplied; zeros where every layer is fully transparent.

    Raises:
        ValueError: ``layers`` is empty, or layers differ in size.
    """
    if not layers:
        raise ValueError("at least one layer is needed")
    shape = layers[0].pixels.shape
    colour = np.zeros((*shape[:2], 3), np.float32)  # premultiplied by alpha
    alpha = np.zeros((*shape[:2], 1), np.float32)
    for layer in layers:
        if layer.pixels.shape != shape:
            raise ValueError(f"layer {layer.name!r} has shape {layer.pixels.shape}, the lowest layer {shape}")
        box = bounding_box(layer.pixels[..., 3] > 0)
        over = layer.pixels[box].astype(np.float32)
        share = over[..., 3:] / np.float32(255)
        colour[box] += share * (over[..., :3] - colour[box])
        alpha[box] += share * (1 - alpha[box])
    np.divide(colour, alpha, out=colour, where=alpha > 0)
    composed = np.concatenate([colour, 255 * alpha], axis=2)
    return (composed + np.float32(0.5)).astype(np.uint8)


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Box:
    """Return the rows and columns of a mask (H, W) that are not empty; empty slices for an empty mask.

    Args:
        mask: (H, W).
        margin: Number of pixels to add on every side, within the mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return slice(int(top), int(rows[-1] + 1 + margin)), slice(int(left), int(columns[-1] + 1 + margin))


def filled_box(pixels: NDArray[np.uint8]) -> Box:
    """Return the bounding box of all pixels of (H, W, 4) that are not fully transparent; at least one pixel."""
    box = bounding_box(pixels[..., 3] > 0)
    return box if box[0].stop else (slice(0, 1), slice(0, 1))
