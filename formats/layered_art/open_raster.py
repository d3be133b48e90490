"""Read OpenRaster files (.ora) of Krita, GIMP, MyPaint and others."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from formats.errors import InputError
from formats.images import open_image
from formats.layered_art.stack import LayerStack, StackLayer, placed_layer, stack_of_layers
from formats.local_files import require_file

REMEDY = "Save it again from the program that wrote it."
MAX_LIST, MAX_IMAGE = 2**24, 2**30  # bytes of the list of layers, and of a compressed image
MAX_SIDE = 30_000


class _Place(NamedTuple):
    """Offset of a group on the canvas, and its opacity."""

    x: int
    y: int
    opacity: float


def read_open_raster(path: str | Path) -> LayerStack:
    """Read the visible layers of a file, with the opacity of their groups, and its merged image.

    Blend modes are not applied to single layers; the merged image, which the program wrote, has them.

    Raises:
        InputError: The file is missing or damaged, or has no merged image.
    """
    path = require_file(path, REMEDY)
    try:
        with zipfile.ZipFile(path) as archive:
            root = _layer_list(archive, path)
            size = _size(root, path)
            whole = _image(archive, "mergedimage.png", path)
            if whole.shape[:2] != size:
                fault = f"has a merged image of {whole.shape[1]}×{whole.shape[0]} pixels, its canvas"
                raise InputError(path, f"{fault} {size[1]}×{size[0]}", REMEDY)
            stack = root.find("stack")
            found = [] if stack is None else list(_layers(archive, stack, _Place(0, 0, 1.0), size, path))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise InputError(path, f"cannot be read as OpenRaster: {error}", REMEDY) from error
    return stack_of_layers(found[::-1], size, whole)


def _layers(
    archive: zipfile.ZipFile, group: ElementTree.Element, place: _Place, size: tuple[int, int], path: Path
) -> Iterator[StackLayer]:
    """Yield the visible layers of a group, from the top."""
    pending = [(element, place) for element in reversed(group)]
    while pending:
        element, outer = pending.pop()
        opacity = outer.opacity * min(max(float(element.get("opacity", 1)), 0), 1)
        if element.get("visibility", "visible") != "visible" or opacity == 0:
            continue
        inner = _Place(outer.x + int(element.get("x", 0)), outer.y + int(element.get("y", 0)), opacity)
        if element.tag == "stack":
            pending += [(part, inner) for part in reversed(element)]
        elif element.tag == "layer":
            pixels = _image(archive, element.get("src", ""), path).copy()
            pixels[..., 3] = np.rint(pixels[..., 3] * opacity).astype(np.uint8)
            yield placed_layer(element.get("name", ""), pixels, inner.x, inner.y, size)


def _layer_list(archive: zipfile.ZipFile, path: Path) -> ElementTree.Element:
    text = _member(archive, "stack.xml", MAX_LIST, path)
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise InputError(path, "declares entities in its list of layers", REMEDY)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(path, f"has a list of layers that is not XML: {error}", REMEDY) from error


def _size(root: ElementTree.Element, path: Path) -> tuple[int, int]:
    height, width = (int(root.get(side, 0)) for side in "hw")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise InputError(path, f"has a canvas of {width}×{height} pixels", f"Give one of 1 to {MAX_SIDE} per side.")
    return height, width


def _image(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[np.uint8]:
    with open_image(_member(archive, name, MAX_IMAGE, path), f"{path} {name}", REMEDY) as image:
        return np.asarray(image.convert("RGBA"))


def _member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise InputError(path, f"has no {name}", REMEDY) from None
    if info.file_size > limit:
        raise InputError(path, f"declares {info.file_size} bytes for {name}", REMEDY)
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(path, f"has more than {limit} bytes in {name}", REMEDY)
    return content
