"""From an image and its layer-index map to editable layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decomposition.inpainting import layer_extents
from decomposition.layer import Layer
from decomposition.matting import layer_pixels
from decomposition.segmentation import index_layers
from formats.errors import InputError

BACKGROUND = 0.1  # the lowest layer is called background up to this index


@dataclass(frozen=True)
class Separation:
    """An image taken apart.

    Attributes:
        layers: Bottom to top, at least one.
        labels: (H, W), number of the layer that is visible at each pixel; −1 where the image is fully transparent.
        note: For a person: how the result differs from what was asked for; empty where it does not.
    """

    layers: list[Layer]
    labels: NDArray[np.int32]
    note: str = ""


def separate_layers(
    image: NDArray[np.uint8], index: NDArray[np.float32], num_layers: int | None = None, max_layers: int = 32
) -> Separation:
    """Take an image apart into layers whose hidden parts are filled in.

    Laid over one another by `decomposition.compositing.compose` the layers give the image, within one level of 255.
    Every layer reaches beneath those above it, in its own colours, and the lowest lies beneath every opaque pixel, so
    that moving a layer leaves no hole. At antialiased edges the upper layer is partly transparent, in its own colour.
    Beneath pixels that the image itself shows as partly transparent nothing is filled in: it would show through.

    Args:
        image: (H, W, 4) RGBA, not premultiplied.
        index: (H, W), layer index in 0…1, exact or a network's: it may be blurred at edges, noisy and only roughly
            constant within a layer. It is made crisp by the edges of the image.
        num_layers: How many layers to make; None lets the map decide. With fewer distinct indices there are fewer
            layers, and a note says so.
        max_layers: The most that the map may decide for.

    Raises:
        InputError: A number of layers below 1, or a map that is not finite.
        ValueError: Shapes that do not belong together.
    """
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype} is not (H, W, 4) uint8")
    if index.shape != image.shape[:2]:
        raise ValueError(f"the index map has shape {index.shape}, the image {image.shape[:2]}")
    for name, number in (("num_layers", num_layers), ("max_layers", max_layers)):
        if number is not None and number < 1:
            raise InputError(name, f"{number} layers cannot be made", "Give a number of 1 or more.")
    if not np.isfinite(index).all():
        raise InputError("index map", "it has values that are not finite", "Check the network's weights.")

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
        note = f"{num_layers} layers were asked for; the map holds only {len(layers)}."
    return Separation(layers, found.labels, note)
