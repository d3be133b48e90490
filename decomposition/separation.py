"""Separation of an image into editable layers by its layer index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decomposition.inpainting import layer_extents
from decomposition.layer import Layer
from decomposition.matting import layer_pixels
from decomposition.segmentation import index_layers
from formats.errors import InputError

MAX_LAYERS = 12  # determined from an index map; more are mostly fragments
BACKGROUND = 0.1  # largest index of a lowest layer that is named background


@dataclass(frozen=True)
class Separation:
    """Result of the separation.

    Attributes:
        layers: At least one layer, bottom to top.
        labels: (H, W), number of the visible layer at each pixel; −1 where the image is fully transparent.
        note: Message on how the result differs from the request; empty if it does not.
    """

    layers: list[Layer]
    labels: NDArray[np.int32]
    note: str = ""


def separate_layers(
    image: NDArray[np.uint8], index: NDArray[np.float32], num_layers: int | None = None, max_layers: int = MAX_LAYERS
) -> Separation:
    """Separate an image into layers with inpainted hidden parts.

    Composed by `decomposition.compositing.compose`, the layers reproduce the image within one level of 255. Every layer
    extends below those above it in its own colours, and the lowest below every opaque pixel, so that moving a layer
    leaves no holes. At antialiased edges the upper layer is partly transparent in its own colour. Nothing is inpainted
    below pixels that are partly transparent in the image, since it would show through.

    Args:
        image: (H, W, 4) RGBA, not premultiplied.
        index: (H, W), layer index in 0…1, exact or predicted: it may be blurred at edges, noisy, and roughly constant
            within a layer. It is sharpened by the edges of the image.
        num_layers: Number of layers; None determines it from the index. With fewer distinct indices there are fewer
            layers, and a note.
        max_layers: Largest number of layers to determine from the index.

    Raises:
        InputError: A number of layers is below 1, or the index is not finite.
        ValueError: The shapes do not match.
    """
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"the image must be (H, W, 4) uint8, not {image.shape} {image.dtype}")
    if index.shape != image.shape[:2]:
        raise ValueError(f"the index has shape {index.shape}, the image {image.shape[:2]}")
    for name, number in (("num_layers", num_layers), ("max_layers", max_layers)):
        if number is not None and number < 1:
            raise InputError(name, f"must be at least 1, not {number}", "Give 1 or more.")
    if not np.isfinite(index).all():
        raise InputError("index map", "has values that are not finite", "Check the network's weights.")

    found = index_layers(image, np.clip(index, 0, 1).astype(np.float32), num_layers, max_layers)
    if not found.indices:
        return Separation([Layer("background", np.zeros_like(image), 0.0)], found.labels, "The image is transparent.")
    extents = layer_extents(found.labels, image[..., 3] == 255, len(found.indices))
    pixels = layer_pixels(image, found.labels, extents)
    first = 0 if found.indices[0] <= BACKGROUND else 1
    names = [f"layer {number}" if number else "background" for number in range(first, first + len(pixels))]
    layers = [Layer(*parts) for parts in zip(names, pixels, found.indices, strict=True)]
    note = ""
    if num_layers is not None and len(layers) < num_layers:
        note = f"{num_layers} layers were requested, but the index has only {len(layers)}."
    return Separation(layers, found.labels, note)


def exact_separation(pixels: NDArray[np.uint8], orders: NDArray[np.int32]) -> Separation:
    """Take layers as they are, such as those of an SVG file.

    Args:
        pixels: (L, H, W, 4) RGBA from the bottom, not premultiplied.
        orders: (H, W), number of the topmost layer from 1; 0 where there is none.
    """
    count = len(pixels)
    layers = [Layer(f"layer {number}", image, number / count) for number, image in enumerate(pixels, start=1)]
    return Separation(layers, orders - 1)
