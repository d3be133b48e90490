"""Render SVG documents with resvg at a given size."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from formats.svg.tree import Node, SvgRefusedError, serialise

MAX_CANVAS = 1e6  # user units
MAX_RATIO = 256.0
_UNITS = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "mm": 96 / 25.4,
    "cm": 96 / 2.54,
    "in": 96.0,
    "em": 16.0,
    "ex": 8.0,
}
_LENGTH = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([a-z%]*)\s*")
# The renderer draws a text that names no installed font in its serif family, and nothing if that is missing, too.
# Matplotlib's copies of the DejaVu fonts are installed with this package, so that no text vanishes for want of a font.
_MATPLOTLIB = find_spec("matplotlib")  # without importing it in every worker
assert _MATPLOTLIB is not None
assert _MATPLOTLIB.origin is not None
_FONTS = Path(_MATPLOTLIB.origin).parent / "mpl-data" / "fonts" / "ttf"
FALLBACK_FONTS: dict[str, Any] = {
    "font_files": [str(path) for path in sorted(_FONTS.glob("DejaVu*.ttf")) if "Display" not in path.name],
    "font_family": "DejaVu Serif",
    "serif_family": "DejaVu Serif",
    "sans_serif_family": "DejaVu Sans",
    "cursive_family": "DejaVu Serif",
    "fantasy_family": "DejaVu Sans",
    "monospace_family": "DejaVu Sans Mono",
}
_SEARCH = 256  # side in pixels of renderings that search for the drawing


def length(text: str | None) -> tuple[float, str] | None:
    """Parse a length as (number, unit), the unit in lower case, possibly empty; None if it is not a length."""
    match = _LENGTH.fullmatch(text.lower()) if text else None
    return (float(match[1]), match[2]) if match else None


def pixels(text: str | None) -> float | None:
    """Parse a length in px; None if it is missing, relative to something else, or not a length."""
    parts = length(text)
    return parts[0] * _UNITS[parts[1]] if parts and parts[1] in _UNITS else None


def view_box(text: str | None) -> tuple[float, float, float, float] | None:
    """Parse a ``viewBox`` as (x, y, width, height); None if it is missing or has no area."""
    try:
        x, y, width, height = map(float, re.split(r"[\s,]+", (text or "").strip()))
    except ValueError:
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def render_png(document: str, where: str | Path, crisp: bool, with_fonts: bool, background: str | None = None) -> bytes:
    """Render a document that declares its own size in px.

    Args:
        document: The SVG, without external references.
        where: Its file, for error messages.
        crisp: Render without anti-aliasing: a pixel is painted fully if its centre is covered, else not at all.
        with_fonts: Render text, with the fonts of the system; finding them is slow.
        background: Colour of the canvas; None for a transparent one.

    Returns:
        A PNG file of RGBA, not premultiplied.

    Raises:
        SvgRefusedError: ``not drawable``, with the message of the renderer.
    """
    try:
        return resvg_py.svg_to_bytes(
            svg_string=document,
            dpi=96.0,
            background=background,
            skip_system_fonts=not with_fonts,
            **(FALLBACK_FONTS if with_fonts else {}),
            shape_rendering="crisp_edges" if crisp else "geometric_precision",
            text_rendering="optimize_speed" if crisp else "optimize_legibility",
        )
    except ValueError as error:
        raise SvgRefusedError(where, "not drawable", str(error)) from None


def render(document: str, where: str | Path, crisp: bool, with_fonts: bool) -> NDArray[np.uint8]:
    """Render like `render_png`, and decode to (H, W, 4) RGBA, not premultiplied."""
    return decode(render_png(document, where, crisp, with_fonts))


def decode(png: bytes) -> NDArray[np.uint8]:
    """Decode a PNG from the renderer to (H, W, 4) RGBA."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))


def fit_canvas(root: Node, where: str | Path, size: int, with_fonts: bool) -> dict[str, str]:
    """Return attributes of the root that make the longer side of the drawing ``size`` pixels.

    The canvas is given by ``width`` and ``height``, else by ``viewBox``, else it is the bounding box of the painted
    pixels.

    Raises:
        SvgRefusedError: ``empty canvas``, ``canvas too large``, ``canvas too narrow``, ``no visible element``.
    """
    box = view_box(root.attributes.get("viewBox"))
    sides = [_side(root, name, box) for name in ("width", "height")]
    if any(side is not None and side <= 0 for side in sides):
        raise SvgRefusedError(
            where, "empty canvas", f"{root.attributes.get('width')} × {root.attributes.get('height')}"
        )
    width, height = sides
    if box:
        width = width or (height * box[2] / box[3] if height else box[2])
        height = height or width * box[3] / box[2]
    if not (width and height):
        box = _painted_box(root, where, with_fonts)
        width, height = box[2:]
    if max(width, height) > MAX_CANVAS or (box and max(map(abs, box)) > MAX_CANVAS):
        raise SvgRefusedError(where, "canvas too large", f"{width:g} × {height:g}")
    ratio = max(width, height) / min(width, height)
    shorter = round(size / ratio)
    if ratio > MAX_RATIO or shorter < 1:
        raise SvgRefusedError(where, "canvas too narrow", f"{width:g} × {height:g}")
    columns, rows = (size, shorter) if width >= height else (shorter, size)
    attributes = {"width": str(columns), "height": str(rows)}
    if view_box(root.attributes.get("viewBox")):
        return attributes  # and with its own viewBox and preserveAspectRatio
    x, y, *extent = box or (0.0, 0.0, width, height)
    return attributes | {"viewBox": f"{x} {y} {extent[0]} {extent[1]}", "preserveAspectRatio": "none"}


def _side(root: Node, name: str, box: tuple[float, float, float, float] | None) -> float | None:
    parts = length(root.attributes.get(name))
    if parts is None:
        return None
    if parts[1] == "%":
        return parts[0] / 100 * box[2 if name == "width" else 3] if box else None
    return pixels(root.attributes[name])


def _painted_box(root: Node, where: str | Path, with_fonts: bool) -> tuple[float, float, float, float]:
    """Bounding box (x, y, width, height) of everything painted, found by rendering smaller and smaller windows."""
    x, y, side = -2048.0, -2048.0, 4096.0
    is_outermost = True
    for _ in range(12):
        window = {"width": str(_SEARCH), "height": str(_SEARCH), "viewBox": f"{x} {y} {side} {side}"}
        attributes = root.attributes
        root.attributes = attributes | window | {"preserveAspectRatio": "none"}
        try:
            alpha = render(serialise(root), where, crisp=False, with_fonts=with_fonts)[..., 3]
        finally:
            root.attributes = attributes
        columns, rows = (np.flatnonzero(alpha.any(axis)) for axis in (0, 1))
        is_cut = not len(columns) or min(columns[0], rows[0]) == 0 or max(columns[-1], rows[-1]) == _SEARCH - 1
        if is_outermost and is_cut and side < MAX_CANVAS:
            x, y, side = 4 * x, 4 * y, 4 * side
            continue
        if not len(columns):
            break
        is_outermost, step = False, side / _SEARCH
        x, y = x + (columns[0] - 1) * step, y + (rows[0] - 1) * step
        width, height = (columns[-1] - columns[0] + 3) * step, (rows[-1] - rows[0] + 3) * step
        if max(width, height) > side / 2:
            return x + step, y + step, width - 2 * step, height - 2 * step
        side = max(width, height)
    raise SvgRefusedError(where, "no visible element", "nothing is painted, and no size is given")
