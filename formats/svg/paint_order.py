"""The paint order of every pixel of an SVG drawing.

Every drawable element (a shape, a text, a use with everything it shows, an image) has a number in document order. Most
of them are drawn at once: :mod:`formats.svg.flat_document` replaces their fills and strokes by the number as a flat
colour, which is decoded from the rendering. Images, patterns, markers, symbols, and everything within masks and filters
have no flat equivalent; each is rendered separately in its own paint.

An element covers a pixel where its alpha is above ``min_alpha``; so a transparent end of a gradient
covers nothing, and the rest of the gradient everything that it tints. Blend modes are left out: they change colours,
not order. Strokes thinner than a pixel are widened to one pixel; they would otherwise miss pixel centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formats.layered_art.pairs import MAX_LAYERS
from formats.svg.document import MAX_DEPTH, MAX_ELEMENTS, read_svg
from formats.svg.flat_document import FlatDocument, crisp_attributes, hairline
from formats.svg.paint import MIN_ALPHA, Context, referenced
from formats.svg.rendering import decode, fit_canvas, render, render_png, view_box
from formats.svg.style import apply_styles
from formats.svg.tree import CONTAINERS, DRAWABLE, Node, SvgRefusedError, escape, serialise, start_tag

_CONDITIONS = ("systemLanguage", "requiredFeatures", "requiredExtensions")
_MAX_MIXED = 1e-3  # share of the pixels; a step of a gradient may fall on the centre of one


class DrawnSvg(NamedTuple):
    """A drawing with the number of the topmost element at each pixel.

    Attributes:
        png: The anti-aliased image on white as a PNG file, RGBA and opaque, as encoded by the renderer.
        numbers: (H, W) uint32: number of the topmost drawable element in document order from 1, 0 where nothing
            is painted.
    """

    png: bytes
    numbers: NDArray[np.uint32]
    lost_texts: int = 0

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image (H, W, 3), RGB."""
        return decode(self.png)[..., :3]

    @property
    def orders(self) -> NDArray[np.uint16]:
        """Paint orders (H, W), 1 … n from below without gaps: only visible elements are counted."""
        visible = np.bincount(self.numbers.ravel()) > 0
        visible[0] = False
        orders = np.where(visible, np.cumsum(visible), 0)
        return orders.astype(np.uint16)[self.numbers]


def draw_svg(path: str | Path, size: int, min_alpha: float = MIN_ALPHA, background: str = "#ffffff") -> DrawnSvg:
    """Render an SVG file and find the topmost element at each pixel.

    Args:
        path: The file, ``.svg`` or ``.svgz``.
        size: Longer side in pixels; the other follows from the drawing.
        min_alpha: Paint of this alpha (0…1) or less covers nothing; the pixel belongs to what it tints.
        background: CSS colour of the canvas.

    Raises:
        SvgRefusedError: For the reasons of `formats.svg.document.read_svg` and `formats.svg.rendering.fit_canvas`,
            ``empty drawing`` (no drawable element), ``no visible element``, ``too many elements``.
    """
    drawing = _Drawing(read_svg(path), path, size, min_alpha)
    png = render_png(serialise(drawing.root), path, crisp=False, with_fonts=drawing.has_text, background=background)
    numbers = drawing.numbers()
    if not numbers.any():
        raise SvgRefusedError(path, "no visible element", "all are hidden, transparent or off the canvas")
    if np.count_nonzero(np.bincount(numbers.ravel())[1:]) > MAX_LAYERS:
        raise SvgRefusedError(path, "too many elements", f"more than {MAX_LAYERS} are visible")
    return DrawnSvg(png, numbers, drawing.lost_texts(numbers) if drawing.has_text else 0)


def draw_svg_layers(path: str | Path, size: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.uint16]]:
    """Render every visible element of an SVG file by itself.

    Blend modes are left out, and a group's opacity applies to each of its elements. Where elements of such a group
    overlap, the layers laid over one another therefore differ from the drawing.

    Args:
        path: The file, ``.svg`` or ``.svgz``.
        size: Longer side in pixels; the other follows from the drawing.

    Returns:
        Elements (H, W, 4), RGBA, not premultiplied, from the bottom, hidden parts included; and the paint orders
        (H, W), 0 where nothing is painted, 1 the first element.

    Raises:
        SvgRefusedError: For the reasons of `draw_svg`.
    """
    drawn = draw_svg(path, size)
    drawing = _Drawing(read_svg(path), path, size, MIN_ALPHA)
    visible = set(np.unique(drawn.numbers).tolist())
    layers = [
        render(drawing.separate_document(node), path, crisp=False, with_fonts=drawing.has_text)
        for node in drawing.drawable
        if node.number in visible
    ]
    return layers, drawn.orders


class _Drawing:
    """An SVG document, and the documents made from it for the renderer."""

    def __init__(self, root: Node, where: str | Path, size: int, min_alpha: float) -> None:
        self.root, self.where = root, where
        apply_styles(root)
        self.drawable = list(_number(root))
        if not self.drawable:
            raise SvgRefusedError(where, "empty drawing", "no drawable element")
        self.ids = {node.attributes["id"]: node for node in root.walk() if "id" in node.attributes}
        self.has_text = any(node.tag == "text" for node in root.walk()) or any(
            node.attributes.get("href", "").startswith("data:image/svg") for node in root.walk() if node.tag == "image"
        )
        self._check_uses()
        root.attributes |= fit_canvas(root, where, size, self.has_text)
        self.needed = self._needed()
        self._definitions: dict[Node, str] = {}
        box = view_box(root.attributes["viewBox"])
        assert box is not None
        scales = int(root.attributes["width"]) / box[2], int(root.attributes["height"]) / box[3]
        self.context = Context(area=min(scales) ** 2, min_alpha=min_alpha)

    def numbers(self) -> NDArray[np.uint32]:
        """Return the number of the topmost element at each pixel, (H, W)."""
        flat = FlatDocument(self.root, self.context, self.ids, self.definitions)
        rgba = render(flat.text, self.where, crisp=True, with_fonts=self.has_text)
        pixels = np.ascontiguousarray(rgba).view("<u4")[..., 0]  # alpha, then the digits of the number
        numbers = np.where(pixels >= 0xFF000000, pixels & 0xFFFFFF, np.uint32(0))
        painted = np.count_nonzero(numbers)
        if np.count_nonzero(pixels) - painted > _MAX_MIXED * pixels.size or numbers.max() > len(self.drawable):
            raise SvgRefusedError(self.where, "colours were mixed", "some pixels decode to no element")
        for node, context in flat.separate:
            paint = render(self.separate_document(node, context), self.where, crisp=True, with_fonts=self.has_text)
            covered = paint[..., 3] > context.min_alpha * 255
            np.maximum(numbers, np.where(covered, np.uint32(node.number), np.uint32(0)), out=numbers)
        return numbers

    def separate_document(self, drawn: Node, context: Context | None = None) -> str:
        """Return the document with one drawable element only, in its own paint.

        Args:
            drawn: The element.
            context: Its context, to widen a thin stroke to one pixel; None leaves it.
        """
        path, ancestor = {drawn}, drawn.parent
        while ancestor is not None:
            path.add(ancestor)
            ancestor = ancestor.parent

        def write(node: Node) -> str:
            if node is drawn:
                return self._plain(node, hairline(context) if context else None)
            inside = "".join(write(child) if child in path else self.definitions(child) for child in node.elements)
            return f"{start_tag(node.tag, crisp_attributes(node), node.parent is None)}{inside}</{node.tag}>"

        return write(self.root)

    def lost_texts(self, numbers: NDArray[np.uint32]) -> int:
        """Count the texts that paint nothing even when drawn alone, e.g. since no font has their characters."""
        visible = set(np.unique(numbers).tolist())
        count = 0
        for node in self.drawable:
            if node.tag == "text" and node.number not in visible and _is_written(node):
                paint = render(self.separate_document(node, self.context), self.where, crisp=True, with_fonts=True)
                count += not paint[..., 3].any()
        return count

    def definitions(self, node: Node) -> str:
        """Return the definitions in an undrawn element that the rest of the document needs."""
        if node not in self._definitions:
            text = self._plain(node) if node in self.needed else ""
            if text and (node.tag in CONTAINERS or node.tag in DRAWABLE):
                text = f"<defs>{text}</defs>"
            if node.parent is not None and node.parent.tag == "switch":  # so that the switch chooses the same child
                conditions = {name: node.attributes[name] for name in _CONDITIONS if name in node.attributes}
                text = start_tag("g", conditions) + "</g>" + text
            self._definitions[node] = text
        return self._definitions[node]

    def _plain(self, node: Node, changes: dict[str, str] | None = None) -> str:
        inside = (self._plain(child) if isinstance(child, Node) else escape(child) for child in node.children)
        return f"{start_tag(node.tag, crisp_attributes(node) | (changes or {}))}{''.join(inside)}</{node.tag}>"

    def _needed(self) -> set[Node]:
        """Return elements that others refer to, with their ancestors."""
        names = set()
        for node in self.root.walk():
            names.add(node.attributes.get("href", "")[1:])
            for value in node.style.values():
                reference = referenced(value, self.ids) if "url(" in value.lower() else None
                if reference and reference[0] is not None:
                    names.add(reference[0].attributes["id"])
        needed: set[Node] = set()
        for name in names & self.ids.keys():
            node_or_ancestor: Node | None = self.ids[name]
            while node_or_ancestor is not None and node_or_ancestor not in needed:
                needed.add(node_or_ancestor)
                node_or_ancestor = node_or_ancestor.parent
        return needed

    def _check_uses(self) -> None:
        """Refuse a document that exceeds the number of elements once every use is expanded."""
        sizes: dict[Node, int] = {}

        def count(node: Node, depth: int) -> int:
            if depth > MAX_DEPTH:
                return 0  # a cycle, which the renderer leaves out
            if node not in sizes:
                sizes[node] = 1  # stops at elements that contain themselves
                target = self.ids.get(node.attributes.get("href", "")[1:]) if node.tag == "use" else None
                inside = [*node.elements, *([target] if target is not None else [])]
                sizes[node] = 1 + sum(count(child, depth + 1) for child in inside)
            return sizes[node]

        if count(self.root, 0) > MAX_ELEMENTS:
            raise SvgRefusedError(self.where, "too many elements", f"more than {MAX_ELEMENTS} with all uses expanded")


def _is_written(text: Node) -> bool:
    """Whether a text has characters to show and is not hidden by itself."""
    style = [part.style for part in text.walk()]
    hidden = any(part.get("display") == "none" or part.get("visibility") == "hidden" for part in style)
    letters = "".join(child for part in text.walk() for child in part.children if isinstance(child, str))
    return bool(letters.strip()) and not hidden


def _number(root: Node) -> Iterator[Node]:
    """Number the drawable elements outside definitions from 1."""
    number = 0
    stack = [root]
    while stack:
        node = stack.pop()
        if node.tag in DRAWABLE:
            number += 1
            node.number = number
            yield node
        elif node.tag in CONTAINERS:
            stack.extend(reversed(list(node.elements)))
