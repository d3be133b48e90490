"""Layers as a PSD file for Photoshop, GIMP, Krita, Affinity and others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from psd_tools import PSDImage
from psd_tools.psd import PSD

from decomposition.compositing import compose, filled_box
from decomposition.layer import Layer
from formats.atomic import atomic_path
from formats.errors import InputError
from formats.images import on_white

MAX_SIDE = 30_000  # pixels; limit of the format


def write_psd(path: str | Path, layers: Sequence[Layer]) -> None:
    """Write layers as PSD, 8-bit RGB with transparency, each cropped to its bounding box.

    The flattened image in the file, the only part that some viewers read, is the composition of the layers. As in
    Photoshop, its colours are blended with white where it is partly transparent, and its alpha is a fourth channel.

    Args:
        path: Path of the file, usually ``.psd``.
        layers: At least one layer, bottom to top, all of one size.

    Raises:
        InputError: The canvas is wider or higher than the format allows.
        ValueError: ``layers`` is empty, or layers differ in size.
    """
    if layers and max(layers[0].pixels.shape[:2]) > MAX_SIDE:
        height, width = layers[0].pixels.shape[:2]
        fault = f"{width} × {height} pixels exceed the {MAX_SIDE} pixels per side that PSD allows"
        raise InputError(path, fault, "Write OpenRaster, or make the image smaller.")
    merged = compose(layers)
    flat = io.BytesIO()
    PSDImage.frompil(Image.fromarray(np.dstack([on_white(merged), merged[..., 3]]))).save(flat)
    # PSDImage.save would recompose the layers, slowly and on a coloured background. Written as a record, the file
    # keeps the flattened image above. The document edits the record that it was made from.
    record = PSD.frombytes(flat.getvalue())
    document = PSDImage(record)
    for layer in layers:
        rows, columns = filled_box(layer.pixels)
        image = Image.fromarray(layer.pixels[rows, columns])
        pixel_layer = document.create_pixel_layer(image, top=rows.start, left=columns.start)
        pixel_layer.name = layer.name[:255]  # Unicode; the name argument above allows Mac OS Roman only
    information = record.layer_and_mask_information.layer_info
    assert information is not None
    information.layer_count = -len(layers)  # negative: the fourth channel of the flattened image is its alpha
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        record.write(file)
