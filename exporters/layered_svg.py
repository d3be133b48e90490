"""Layers as an SVG drawing with a group per layer, for Inkscape, Illustrator and browsers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import vtracer
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from decomposition.compositing import bounding_box
from decomposition.layer import Layer
from formats.atomic import atomic_path

SVG = "http://www.w3.org/2000/svg"
INKSCAPE = "http://www.inkscape.org/namespaces/inkscape"

_EDGE = 3.0  # pixels; largest distance of an antialiased edge from opaque pixels
_MARGIN = 1  # transparent pixels around the traced part


def write_layered_svg(
    path: str | Path,
    layers: Sequence[Layer],
    *,
    colours: int | None = 32,
    filter_speckle: int = 4,
    colour_precision: int = 8,
    colour_step: int = 8,
    mode: Literal["spline", "polygon"] = "spline",
    corner_threshold: int = 60,
) -> None:
    """Trace layers into filled shapes and write them as an SVG of the size of the canvas.

    Every layer becomes a group, bottom to top, which Inkscape shows as a layer of that name; a layer without pixels
    becomes an empty group.

    Traced shapes are opaque, and renderers antialias their edges. An antialiased pixel at the edge of a layer therefore
    belongs to the shape if its alpha is at least half of the layer's largest, and gets the colour of the nearest pixel
    inside the shape. A layer whose largest alpha is below 255 becomes a translucent group; alpha that varies within a
    layer, as in a blurred shadow, is lost.

    Args:
        path: Path of the file; missing folders are created.
        layers: At least one layer, all of one size.
        colours: Number of colours to reduce a layer to before tracing, 2…256; a gradient becomes bands.
            With None, flat colours are unchanged, and a smooth gradient becomes a single colour.
        filter_speckle: Patches narrower than this many pixels are left out.
        colour_precision: Bits per channel in the comparison of colours, 1…8.
        colour_step: Smallest difference of colours, 0…255, between a patch and the shape around it.
        mode: ``spline`` for smooth outlines, ``polygon`` for straight ones and smaller files.
        corner_threshold: Smallest angle of a corner in degrees; smaller values keep more corners.

    Raises:
        ValueError: ``layers`` is empty, or layers differ in size or are not (H, W, 4) uint8.
    """
    height, width = _canvas(layers)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("inkscape", INKSCAPE)
    size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    root = ElementTree.Element(f"{{{SVG}}}svg", {"version": "1.1", **size})
    options: dict[str, str | int] = {
        "mode": mode,
        "filter_speckle": filter_speckle,
        "color_precision": colour_precision,
        "layer_difference": colour_step,
        "corner_threshold": corner_threshold,
    }
    for number, layer in enumerate(layers, start=1):
        name = layer.xml_name
        attributes = {"id": f"layer-{number}", f"{{{INKSCAPE}}}groupmode": "layer", f"{{{INKSCAPE}}}label": name}
        group = ElementTree.SubElement(root, f"{{{SVG}}}g", attributes)
        ElementTree.SubElement(group, f"{{{SVG}}}title").text = name
        _trace_into(group, layer.pixels, colours, options)
    ElementTree.indent(root)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def _canvas(layers: Sequence[Layer]) -> tuple[int, int]:
    shapes = {layer.pixels.shape for layer in layers}
    if len(shapes) != 1:
        raise ValueError(f"layers must have one size, not {sorted(shapes) or 'none'}")
    (shape,) = shapes
    if len(shape) != 3 or shape[2] != 4 or any(layer.pixels.dtype != np.uint8 for layer in layers):
        raise ValueError(f"the pixels of a layer must be (H, W, 4) uint8, not {shape}")
    return shape[0], shape[1]


def _trace_into(
    group: ElementTree.Element, pixels: NDArray[np.uint8], colours: int | None, options: dict[str, str | int]
) -> None:
    """Add the traced shapes of (H, W, 4) to a group, and set its position and opacity."""
    alpha = pixels[..., 3]
    largest = int(alpha.max(initial=0))
    inside = alpha >= max(1, (largest + 1) // 2)
    if not inside.any():
        return
    box = bounding_box(inside)
    colour = _clean_colour(pixels[box], inside[box], largest)
    if colours is not None:
        colour[inside[box]] = _reduced(colour[inside[box]], colours)
    clean = np.dstack([colour, np.where(inside[box], 255, 0)]).astype(np.uint8)
    # The tracer respects transparency only if enough pixels of the rows that it samples are transparent, among them the
    # first and the last row; otherwise it would fill holes with black.
    clean = np.pad(clean, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))

    paths = list(_paths(clean, options))
    if not paths:  # one or two pixels have no outline to smooth: draw squares
        paths = list(_paths(clean, {**options, "mode": "none", "filter_speckle": 0}))
    group.set("transform", f"translate({box[1].start - _MARGIN},{box[0].start - _MARGIN})")
    if largest < 255:
        group.set("opacity", f"{largest / 255:.4f}")
    group.extend(paths)


def _paths(pixels: NDArray[np.uint8], options: dict[str, str | int]) -> Iterator[ElementTree.Element]:
    """Trace (H, W, 4) and yield the paths with an area, each with its fill and translation."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG", compress_level=1)
    drawing = vtracer.convert_raw_image_to_svg(encoded.getvalue(), img_format="png", path_precision=2, **options)
    for path in ElementTree.fromstring(drawing).iter(f"{{{SVG}}}path"):
        if re.search("[CL]", path.get("d", "")):
            path.tail = None
            path.set("d", path.get("d", "").strip())
            yield path


def _clean_colour(pixels: NDArray[np.uint8], inside: NDArray[np.bool_], largest: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) in which edge pixels have the colour of the nearest pixel of full alpha."""
    colour = pixels[..., :3].copy()
    whole = pixels[..., 3] == largest
    edge = inside & ~whole
    if edge.any():
        distance, nearest = ndimage.distance_transform_edt(~whole, return_indices=True)
        edge &= distance <= _EDGE
        colour[edge] = colour[tuple(nearest[:, edge])]
    return colour


def _reduced(colour: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Reduce (N, 3) to ``number`` colours by median cut."""
    chosen = Image.fromarray(colour[None]).quantize(number, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    cluster = np.asarray(chosen)[0].astype(np.int64)
    palette = np.empty((number, 3), dtype=np.uint8)
    for channel in range(3):
        # The median, since a mean would mix a flat colour with the blends around it.
        counts = np.bincount(cluster * 256 + colour[:, channel], minlength=number * 256).reshape(number, 256)
        total = counts.cumsum(1)
        palette[:, channel] = (2 * total >= total[:, -1:]).argmax(1)
    return np.asarray(palette[cluster])
