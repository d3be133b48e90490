"""Layers as an OpenRaster file for GIMP, Krita, MyPaint and others."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decomposition.compositing import compose, filled_box
from decomposition.layer import Layer
from formats.atomic import atomic_path
from formats.images import COMPRESSION

VERSION = "0.0.5"
THUMBNAIL = 256  # longer side in pixels at most


def write_open_raster(path: str | Path, layers: Sequence[Layer]) -> None:
    """Write layers as OpenRaster 0.0.5 (https://www.openraster.org): a zip of PNGs and one XML.

    Each layer is cropped to its bounding box; a merged image and a thumbnail are included.

    Args:
        path: Path of the file, usually ``.ora``.
        layers: At least one layer, bottom to top, all of one size.

    Raises:
        ValueError: ``layers`` is empty, or layers differ in size.
    """
    merged = compose(layers)
    height, width = merged.shape[:2]
    image = ElementTree.Element("image", version=VERSION, w=str(width), h=str(height))
    stack = ElementTree.SubElement(image, "stack")
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # First and uncompressed, so that programs recognise the file type at a fixed offset.
        _add(archive, "mimetype", b"image/openraster")
        for number, layer in reversed(list(enumerate(layers))):
            source = f"data/layer{number:02d}.png"
            rows, columns = filled_box(layer.pixels)
            _add(archive, source, _png(layer.pixels[rows, columns]))
            attributes = {
                "name": layer.xml_name,
                "src": source,
                "x": str(columns.start),
                "y": str(rows.start),
                "opacity": "1.0",
                "visibility": "visible",
                "composite-op": "svg:src-over",
            }
            ElementTree.SubElement(stack, "layer", attributes)
        xml = ElementTree.tostring(image, encoding="UTF-8", xml_declaration=True)
        _add(archive, "stack.xml", xml, zipfile.ZIP_DEFLATED)
        _add(archive, "mergedimage.png", _png(merged))
        thumbnail = Image.fromarray(merged)
        thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
        _add(archive, "Thumbnails/thumbnail.png", _png(np.asarray(thumbnail)))


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    # A fixed date, so that the same layers give the same bytes.
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, compression)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
