"""Section of a report on the layers of an image, from the files that a decomposition wrote."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decomposition.compositing import filled_box
from exporters.visualization.report.page import Section, image_uri
from formats.images import read_rgb, read_rgba

MAX_SVG_BYTES = 800_000
MAX_PIXELS = 6_000_000  # of all layers together that are tried; more take seconds to encode
MIN_SIDE = 96


@dataclass(frozen=True)
class LayeredImage:
    """Folder of a decomposed image.

    Attributes:
        folder: Holds ``layers/00_….png``, …, bottom to top, ``index_colour.png`` and ``layers.svg``.
        names: Display names of the layers.
        note: Sentence on the result; "" for none.
    """

    folder: Path
    names: Sequence[str]
    note: str = ""


def layers_section(image: LayeredImage, max_bytes: int) -> Section:
    """Return a section in which the layers of an image are pulled apart, moved and saved.

    Args:
        image: The decomposed image.
        max_bytes: Size of the section; larger layers are reduced, and the section says so.
    """
    files = (image.folder / "layers").glob("[0-9]*_*.png")
    paths = sorted(files, key=lambda path: int(path.name.partition("_")[0]))
    pixels = [read_rgba(path) for path in paths]
    height, width = pixels[0].shape[:2]
    svg_path = image.folder / "layers.svg"
    small = svg_path.is_file() and svg_path.stat().st_size <= min(MAX_SVG_BYTES, max_bytes // 3)
    svg = svg_path.read_text(encoding="utf-8") if small else None
    colours = image_uri(read_rgb(image.folder / "index_colour.png"), max_side=768)
    left = max(1, max_bytes - len(svg or "") - len(colours))
    expected = sum(path.stat().st_size for path in paths) * 4 / 3  # as base64
    boxes = [filled_box(layer) for layer in pixels]
    filled = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in boxes)
    share = min(1.0, (MAX_PIXELS / max(1, filled)) ** 0.5, (1.2 * left / expected) ** 0.5)
    side = max(1, int(max(height, width) * share))
    entries, size = _encoded(image.names, pixels, side)
    while (needed := sum(len(entry["png"]) for entry in entries)) > left and side > MIN_SIDE:
        side = max(MIN_SIDE, int(0.95 * side * min(0.9, (left / needed) ** 0.5)))
        entries, size = _encoded(image.names, pixels, side)
    reduced = ""
    if size != (width, height):
        svg = None  # its size would be another one
        reduced = (
            f"To keep this page small, it holds the layers at {size[0]} × {size[1]} of {width} × {height} pixels, and "
            "saves them at this size; the files next to it have all pixels."
        )
    data = {
        "name": image.folder.name,
        "width": size[0],
        "height": size[1],
        "layers": entries,
        "colours": colours,
        "svg": svg,
        "reduced": reduced,
    }
    note = f"<p class='note'>{escape(image.note)}</p>" if image.note else ""
    return Section(f"Layers of {image.folder.name}", note, "layers", data, first=True)


def _encoded(
    names: Sequence[str], layers: Sequence[NDArray[np.uint8]], side: int
) -> tuple[list[dict[str, Any]], tuple[int, int]]:
    """Encode layers, cropped, of at most this side; also return width and height of the canvas."""
    height, width = layers[0].shape[:2]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    entries = []
    for name, whole in zip(names, layers, strict=True):
        pixels = whole if share == 1 else _resized(whole, size)
        rows, columns = filled_box(pixels)
        with io.BytesIO() as file:
            Image.fromarray(pixels[rows, columns]).save(file, "PNG", compress_level=6)
            png = base64.b64encode(file.getvalue()).decode()
        entries.append({"name": name, "x": columns.start, "y": rows.start, "png": png})
    return entries, size


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Reduce RGBA, in which colours count by their alpha."""
    premultiplied = Image.fromarray(pixels).convert("RGBa").resize(size, Image.Resampling.BOX)
    return np.asarray(premultiplied.convert("RGBA"))
