"""Reference for the paint orders of SVG drawings, made from renderings of single elements.

It shares the canvas, the renderer and the visible alpha with :mod:`formats.svg.paint_order`, but neither the reading of
styles nor the colours: the elements of the file are rendered one by one, all others hidden by ``display: none``, in
their own paint and anti-aliased, and the last one that covers a pixel is the topmost. Masked, filtered and patterned
elements are rendered separately by both. A second reference builds the drawing up element by element on one canvas,
where any change of a colour counts; it misses an element that repeats the colour below it.
"""

from __future__ import annotations

import copy
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from formats.svg.document import read_svg
from formats.svg.paint_order import draw_svg
from formats.svg.rendering import fit_canvas

NS, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
DRAWABLE = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "use", "image"}
CONTAINERS = {"svg", "g", "a", "switch"}
HIDDEN = "display:none !important;"
VISIBLE_ALPHA = 0.04

ET.register_namespace("", NS[1:-1])
ET.register_namespace("xlink", XLINK[1:-1])


class SingleElements:
    """An SVG file whose drawable elements can be hidden one by one."""

    def __init__(self, path: Path, size: int) -> None:
        root = ET.fromstring(path.read_bytes())
        for name, value in fit_canvas(read_svg(path), path, size, with_fonts=True).items():
            root.set(name, value)
        self.root = root
        self.has_text = any(element.tag == f"{NS}text" for element in root.iter())
        self._definitions = ET.SubElement(root, f"{NS}defs")
        self._ids = {element.get("id"): element for element in root.iter() if element.get("id")}
        self._text = ET.tostring(root, encoding="unicode")
        self.elements: list[ET.Element] = []
        self._hide_all(root)

    def _hide_all(self, parent: ET.Element) -> None:
        """Hide every drawable element; hide one that is referenced by a group around it, so that a use can show it."""
        for place, child in enumerate(list(parent)):
            tag = child.tag.removeprefix(NS) if isinstance(child.tag, str) else ""
            if tag in CONTAINERS:
                self._hide_all(child)
            elif tag in DRAWABLE:
                if tag == "use":
                    self._copy_target(child)
                hidden = child
                if f"#{child.get('id')}" in self._text:
                    hidden = parent[place] = ET.Element(f"{NS}g")
                    for condition in ("systemLanguage", "requiredFeatures", "requiredExtensions"):
                        if child.get(condition) is not None:
                            hidden.set(condition, child.get(condition, ""))
                    hidden.append(child)
                hidden.set("style", HIDDEN + hidden.get("style", ""))
                self.elements.append(hidden)

    def _copy_target(self, use: ET.Element) -> None:
        """Make a use refer to a copy of its target that is never hidden."""
        key = f"{XLINK}href" if use.get(f"{XLINK}href") else "href"
        target = self._ids.get(use.get(key, "").strip()[1:])
        if target is None or any(element is use for element in target.iter()):
            return
        target_copy = copy.deepcopy(target)
        target_copy.set("id", f"copy-{len(self._definitions)}")
        for element in target_copy.iter():
            _show(element)
        self._definitions.append(target_copy)
        use.set(key, f"#{target_copy.get('id')}")

    def single_images(self) -> Iterator[NDArray[np.uint8]]:
        """Render each element on an empty canvas, (H, W, 4) RGBA."""
        for element in self.elements:
            _show(element)
            yield self._image()
            element.set("style", HIDDEN + element.get("style", ""))

    def cumulative_images(self) -> Iterator[NDArray[np.uint8]]:
        """Render the first 0, 1, 2, … elements, (H, W, 4) RGBA."""
        yield self._image()
        for element in self.elements:
            _show(element)
            yield self._image()

    def _image(self) -> NDArray[np.uint8]:
        text = ET.tostring(self.root, encoding="unicode")
        png = resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=not self.has_text, dpi=96.0)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def _show(element: ET.Element) -> None:
    if "style" in element.attrib:
        element.set("style", element.get("style", "").replace(HIDDEN, ""))


class Agreement(NamedTuple):
    """Shares of pixels, away from edges, whose paint order agrees with the references.

    Attributes:
        elements: Number of drawable elements.
        single: Agreement with elements rendered one by one.
        single_5x5: The same, two pixels away from edges.
        cumulative: Agreement with the drawing built up on one canvas.
    """

    elements: int
    single: float
    single_5x5: float
    cumulative: float


def check_paint_order(path: Path, size: int) -> Agreement:
    """Compare the paint orders of a file with both references."""
    numbers = draw_svg(path, size).numbers.astype(np.int64)
    drawing = SingleElements(path, size)
    single, cumulative = np.zeros_like(numbers), np.zeros_like(numbers)
    for number, image in enumerate(drawing.single_images(), 1):
        single[image[..., 3] > VISIBLE_ALPHA * 255] = number
    below: NDArray[np.uint8] | None = None
    for number, image in enumerate(drawing.cumulative_images()):
        if below is not None:
            cumulative[(image != below).any(axis=2)] = number
        below = image
    return Agreement(
        len(drawing.elements),
        agreement(numbers, single, 3),
        agreement(numbers, single, 5),
        agreement(numbers, cumulative, 3),
    )


def agreement(orders: NDArray[np.int64], reference: NDArray[np.int64], side: int) -> float:
    """Share of equal pixels among those where either map is constant within ``side`` × ``side`` pixels."""
    inside = np.zeros(orders.shape, dtype=bool)
    for numbers in (orders, reference):
        inside |= maximum_filter(numbers, side) == minimum_filter(numbers, side)
    return float((orders == reference)[inside].mean()) if inside.any() else 1.0
