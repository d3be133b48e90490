"""Layers as one PSD file, which Photoshop, GIMP, Krita, Affinity and others open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from psd_tools import PSDImage

from decomposition.compositing import compose, filled_box
from decomposition.layer import Layer
from formats.atomic import atomic_path
from formats.errors import InputError
from formats.images import on_white

LARGEST_SIDE = 30_000  # pixels, of the format


def write_psd(path: str | Path, layers: Sequence[Layer]) -> None:
    """Write layers as PSD, 8-bit RGB with transparency, each cut to the box that holds it.

    The file's flattened picture, all that some viewers read, is what the layers compose to. As Photoshop writes it,
    its colours are blended with white where it is partly transparent, and its alpha is kept beside them.

    Args:
        path: The file, by custom ``.psd``.
        layers: Bottom to top, of one size; at least one.

    Raises:
        InputError: The canvas is wider or higher than the format allows.
        ValueError: There is no layer, or layers differ in size.
    """
    if layers and max(layers[0].pixels.shape[:2]) > LARGEST_SIDE:
        height, width = layers[0].pixels.shape[:2]
        fault = f"{width} × {height} pixels exceed the {LARGEST_SIDE} a side that PSD allows"
        raise InputError(path, fault, "Write OpenRaster, or make the image smaller.")
    merged = compose(layers)
    document = PSDImage.frompil(Image.fromarray(np.dstack([on_white(merged), merged[..., 3]])))
    for layer in layers:
        rows, columns = filled_box(layer.pixels)
        picture = Image.fromarray(layer.pixels[rows, columns])
        placed = document.create_pixel_layer(picture, top=rows.start, left=columns.start)
        placed.name = layer.name[:255]  # as Unicode; the argument above allows the letters of Mac OS Roman alone
    # PSDImage.save would compose the layers once more, slowly and on a coloured ground: the record is written as it
    # stands, with the picture above.
    record = document._record
    information = record.layer_and_mask_information.layer_info
    assert information is not None
    information.layer_count = -len(layers)  # below zero: the picture's fourth channel is its transparency
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        record.write(file)
