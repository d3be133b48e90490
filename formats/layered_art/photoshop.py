"""Read layers of PSD and PSB files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from psd_tools import PSDImage

from formats.errors import InputError
from formats.layered_art.stack import LayerStack, StackLayer, placed_layer, stack_of_layers
from formats.local_files import require_file

REMEDY = "Save it again with 'Maximize compatibility', in RGB."


def read_psd(path: str | Path) -> LayerStack:
    """Read the visible layers of a file, with masks and the opacity of their groups, and its flattened image.

    Pixels of text and shapes are those that the program stored. A clipped layer covers what the layer below it covers.
    Adjustments, effects and blend modes are not applied to single layers; the flattened image has them.

    Raises:
        InputError: The file is missing, damaged or too large, or has no flattened image.
    """
    path = require_file(path, REMEDY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of psd-tools, about parts that it does not know
            document = PSDImage.open(path)
            size = document.height, document.width
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and size[0] * size[1] > limit:
                raise InputError(path, f"has {size[1]}×{size[0]} pixels", f"Give at most {limit} pixels.")
            whole = document.topil() if document.has_preview() else None
            if whole is None:
                raise InputError(path, "has no flattened image", REMEDY)
            found = list(_layers(document, 1.0, size))
            pixels = np.asarray(whole.convert("RGBA"))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(path, f"cannot be read as PSD: {reason}", REMEDY) from error
    return stack_of_layers(found, size, pixels)


def _layers(group: Any, opacity: float, size: tuple[int, int]) -> Iterator[StackLayer]:
    """Yield the visible layers of a group, from below."""
    clip = np.full(size, 255, np.uint8)  # alpha of the last layer that is not clipped
    for layer in group:
        share = opacity * layer.opacity / 255 if layer.visible else 0.0
        if layer.is_group():
            clip = np.full(size, 255, np.uint8)
            yield from _layers(layer, share, size) if share else ()
            continue
        pixels = _pixels(layer, share) if share else None
        if layer.clipping:
            if pixels is None:
                continue
            placed = placed_layer(layer.name, pixels, layer.left, layer.top, size)
            x0, y0, x1, y1 = placed.box
            alpha = placed.pixels[..., 3].astype(np.uint16) * clip[y0:y1, x0:x1] // 255
            yield StackLayer(layer.name, np.dstack([placed.pixels[..., :3], alpha.astype(np.uint8)]), placed.box)
            continue
        clip = np.zeros(size, np.uint8)
        if pixels is not None:
            placed = placed_layer(layer.name, pixels, layer.left, layer.top, size)
            x0, y0, x1, y1 = placed.box
            clip[y0:y1, x0:x1] = placed.pixels[..., 3]
            yield placed


def _pixels(layer: Any, share: float) -> NDArray[np.uint8] | None:
    """Return the pixels (h, w, 4) of a layer with its mask and opacity; None for layers without pixels."""
    image = layer.topil() if layer.has_pixels() else None
    if image is None:
        return None
    pixels = np.asarray(image.convert("RGBA")).copy()
    alpha = pixels[..., 3] * share
    if layer.has_mask() and not layer.mask.disabled:
        mask = layer.mask.topil(layer_sized=True)
        if isinstance(mask, Image.Image):
            alpha = alpha * (np.asarray(mask.convert("L"), np.float32) / 255)
    pixels[..., 3] = np.rint(alpha).astype(np.uint8)
    return pixels
