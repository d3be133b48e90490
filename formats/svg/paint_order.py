"""The paint order of every pixel of an SVG drawing.

Every drawable element (a shape, a text, a use with all that it shows, an image) has its number in document order.
One document says it for most of them at once: their fills and strokes are rewritten to the number as a flat colour in
base 256, drawn without anti-aliasing and decoded. What a flat colour cannot say is drawn alone, in its own paint, and
covers the pixels that it visibly paints: images, patterns, markers, symbols, and all within masks and filters.

An element covers a pixel where its alpha is above ``min_alpha``; so a transparent end of a gradient
covers nothing, and the rest of it all that it tints. Blend modes are left out: they change colours, not order.
Strokes thinner than a pixel are widened to one, lest they fall between the centres of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formats.layered_art.pairs import MAX_LAYERS
from formats.svg.document import (
    CONTAINERS,
    DRAWABLE,
    MAX_DEPTH,
    MAX_ELEMENTS,
    SHAPES,
    Node,
    SvgRefusedError,
    escape,
    read_svg,
    serialise,
    start_tag,
)
from formats.svg.paint import (
    MIN_ALPHA,
    Context,
    NotFlatError,
    flat_paint,
    flat_stops,
    gradient_stops,
    referenced,
)
from formats.svg.rendering import decode, fit_canvas, length, render, render_png, view_box
from formats.svg.style import apply_styles

_CONDITIONS = ("systemLanguage", "requiredFeatures", "requiredExtensions")
# The whole document is drawn in one way, on nothing.
_WHOLE_DOCUMENT = frozenset({"shape-rendering", "text-rendering", "background-color", "enable-background"})
_MIXED = 1e-3  # share of the pixels; a step of a gradient may fall on the very centre of one
_NOT_FLAT = _WHOLE_DOCUMENT | frozenset(
    {
        "fill",
        "stroke",
        "fill-opacity",
        "stroke-opacity",
        "opacity",
        "color",
        "mix-blend-mode",
        "isolation",
        "paint-order",
    }
    | {"marker-start", "marker-mid", "marker-end", "mask", "filter"}
)
_LINES = frozenset({"path", "line", "polyline", "polygon"})
_COPIED = SHAPES | {"g", "a", "text", "use"}  # what a use may show and still be written out flat
_MAX_USES = 16  # within one another


class DrawnSvg(NamedTuple):
    """A drawing and whose paint is topmost in it.

    Attributes:
        png: The anti-aliased picture on white as a PNG file, RGBA and opaque, as the renderer encodes it.
        numbers: (H, W) uint32: number of the topmost drawable element in document order from 1, 0 where nothing
            is painted.
    """

    png: bytes
    numbers: NDArray[np.uint32]

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture (H, W, 3), RGB."""
        return decode(self.png)[..., :3]

    @property
    def orders(self) -> NDArray[np.uint16]:
        """Paint orders (H, W), 1 … n from below without gaps: only elements that can be seen are counted."""
        seen = np.bincount(self.numbers.ravel()) > 0
        seen[0] = False
        places = np.where(seen, np.cumsum(seen), 0)
        return places.astype(np.uint16)[self.numbers]


def draw_svg(path: str | Path, size: int, min_alpha: float = MIN_ALPHA) -> DrawnSvg:
    """Draw an SVG file and say which element is topmost at each pixel.

    Args:
        path: The file, ``.svg`` or ``.svgz``.
        size: Longer side in pixels; the other follows from the drawing.
        min_alpha: Paint of this alpha or less covers nothing: it tints what is below it, which keeps the pixel.

    Raises:
        SvgRefusedError: For the reasons of `formats.svg.document.read_svg` and `formats.svg.rendering.fit_canvas`,
            ``empty drawing`` (no drawable element), ``no visible element``, ``too many elements``.
    """
    drawing = _Drawing(read_svg(path), path, size, min_alpha)
    png = render_png(serialise(drawing.root), path, crisp=False, with_fonts=drawing.has_text, background="#ffffff")
    numbers = drawing.numbers()
    if not numbers.any():
        raise SvgRefusedError(path, "no visible element", "all are hidden, transparent or off the canvas")
    if np.count_nonzero(np.bincount(numbers.ravel())[1:]) > MAX_LAYERS:
        raise SvgRefusedError(path, "too many elements", f"more than {MAX_LAYERS} can be seen")
    return DrawnSvg(png, numbers)


class _Drawing:
    """An SVG document of which documents for the renderer are made."""

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
        """(H, W): the topmost element's number at each pixel."""
        flat = _FlatDocument(self)
        rgba = render(flat.text, self.where, crisp=True, with_fonts=self.has_text)
        pixels = np.ascontiguousarray(rgba).view("<u4")[..., 0]  # alpha, then the digits of the number
        numbers = np.where(pixels >= 0xFF000000, pixels & 0xFFFFFF, np.uint32(0))
        painted = np.count_nonzero(numbers)
        if np.count_nonzero(pixels) - painted > _MIXED * pixels.size or numbers.max() > len(self.drawable):
            raise SvgRefusedError(self.where, "colours were mixed", "where none should be")
        for node, context in flat.alone:
            paint = render(self.alone(node, context), self.where, crisp=True, with_fonts=self.has_text)
            covered = paint[..., 3] > context.min_alpha * 255
            np.maximum(numbers, np.where(covered, np.uint32(node.number), np.uint32(0)), out=numbers)
        return numbers

    def alone(self, drawn: Node, context: Context) -> str:
        """The document with one drawable element only, in its own paint."""
        path, ancestor = {drawn}, drawn.parent
        while ancestor is not None:
            path.add(ancestor)
            ancestor = ancestor.parent

        def write(node: Node) -> str:
            if node is drawn:
                return self._plain(node, _hairline(context))
            inside = "".join(write(child) if child in path else self.definitions(child) for child in node.elements)
            return f"{start_tag(node.tag, _crisp(node), node.parent is None)}{inside}</{node.tag}>"

        return write(self.root)

    def definitions(self, node: Node) -> str:
        """What the rest of the document needs of an element that is not drawn."""
        if node not in self._definitions:
            text = self._plain(node) if node in self.needed else ""
            if text and (node.tag in CONTAINERS or node.tag in DRAWABLE):
                text = f"<defs>{text}</defs>"
            if node.parent is not None and node.parent.tag == "switch":  # lest another be chosen in its place
                conditions = {name: node.attributes[name] for name in _CONDITIONS if name in node.attributes}
                text = start_tag("g", conditions) + "</g>" + text
            self._definitions[node] = text
        return self._definitions[node]

    def _plain(self, node: Node, changes: dict[str, str] | None = None) -> str:
        inside = (self._plain(child) if isinstance(child, Node) else escape(child) for child in node.children)
        return f"{start_tag(node.tag, _crisp(node) | (changes or {}))}{''.join(inside)}</{node.tag}>"

    def _needed(self) -> set[Node]:
        """Elements that others refer to, and those around them."""
        names = set()
        for node in self.root.walk():
            names.add(node.attributes.get("href", "")[1:])
            for value in node.style.values():
                reference = referenced(value, self.ids) if "url(" in value.lower() else None
                if reference and reference[0] is not None:
                    names.add(reference[0].attributes["id"])
        needed: set[Node] = set()
        for name in names & self.ids.keys():
            around: Node | None = self.ids[name]
            while around is not None and around not in needed:
                needed.add(around)
                around = around.parent
        return needed

    def _check_uses(self) -> None:
        """Refuse a document whose uses, each written out, are more than a document may hold."""
        sizes: dict[Node, int] = {}

        def count(node: Node, within: int) -> int:
            if within > MAX_DEPTH:
                return 0  # around in a circle, which the renderer leaves out
            if node not in sizes:
                sizes[node] = 1  # also what is met again within itself
                target = self.ids.get(node.attributes.get("href", "")[1:]) if node.tag == "use" else None
                inside = [*node.elements, *([target] if target is not None else [])]
                sizes[node] = 1 + sum(count(child, within + 1) for child in inside)
            return sizes[node]

        if count(self.root, 0) > MAX_ELEMENTS:
            raise SvgRefusedError(self.where, "too many elements", f"more than {MAX_ELEMENTS} with all uses")


class _FlatDocument:
    """The document whose colours are numbers.

    Attributes:
        text: The document.
        alone: Elements that it leaves out, which have to be drawn alone, each with its context.
    """

    def __init__(self, drawing: _Drawing) -> None:
        self.drawing, self.ids = drawing, drawing.ids
        self.alone: list[tuple[Node, Context]] = []
        self._parts: list[str] = []
        self._gradients = self._viewports = 0
        self._write(drawing.root, drawing.context)
        self.text = "".join(self._parts)

    def _write(self, node: Node, context: Context) -> None:
        if node.tag not in CONTAINERS and node.tag not in DRAWABLE:
            self._parts.append(self.drawing.definitions(node))
            return
        inner = context.enter(node)
        if inner.opacity <= inner.min_alpha or node.style.get("display", "").strip() == "none":
            self._parts.append(self.drawing.definitions(node))
        elif node.tag in CONTAINERS:
            opening, closing = self._viewport(node)
            self._parts.append(opening)
            for child in node.elements:
                self._write(child, inner)
            self._parts.append(closing)
        else:
            before = len(self._parts)
            try:
                self._write_drawable(node, context, node.number, ())
            except NotFlatError:
                del self._parts[before:]
                self.alone.append((node, inner))
                self._parts.append(self.drawing.definitions(node))

    def _viewport(self, node: Node) -> tuple[str, str]:
        """The tags around a container's content.

        A nested svg is cut by a clip path of the same place: the renderer's own cut is anti-aliased, which would mix
        colours.
        """
        attributes = _flat(node)
        overflow = node.style.get("overflow", attributes.get("overflow", "hidden")).strip()
        if node.tag != "svg" or node.parent is None or overflow in ("visible", "auto"):
            return start_tag(node.tag, attributes, node.parent is None), f"</{node.tag}>"
        self._viewports += 1
        name = f"paint-order-viewport-{self._viewports}"
        whole = {"x": "0", "y": "0", "width": "100%", "height": "100%"}
        place = start_tag("rect", {side: attributes.get(side, default) for side, default in whole.items()}) + "</rect>"
        group = {"clip-path": f"url(#{name})"}
        if "transform" in attributes:
            group["transform"] = attributes.pop("transform")
        attributes["overflow"] = "visible"
        clip = f"{start_tag('clipPath', {'id': name})}{place}</clipPath>"
        return clip + start_tag("g", group) + start_tag("svg", attributes), "</svg></g>"

    def _write_drawable(self, node: Node, context: Context, number: int, uses: tuple[Node, ...]) -> None:
        inner = context.enter(node)
        if inner.is_soft or node.tag not in _COPIED:
            raise NotFlatError
        attributes = _flat(node)
        if uses:
            attributes.pop("id", None)
        if node.tag == "use":
            self._write_use(node, attributes, inner, number, uses)
        elif node.tag in ("g", "a"):
            self._parts.append(start_tag(node.tag, attributes))
            for child in node.elements:
                if child.tag in CONTAINERS or child.tag in DRAWABLE:
                    self._write_drawable(child, inner, number, uses)
            self._parts.append(f"</{node.tag}>")
        else:
            self._write_painted(node, attributes, inner, number)

    def _write_use(
        self, node: Node, attributes: dict[str, str], inner: Context, number: int, uses: tuple[Node, ...]
    ) -> None:
        """A group with a copy of what the use shows; only its place is the use's own."""
        target = self.ids.get(attributes.pop("href", "")[1:])
        if target is None:
            return
        place = [length(attributes.pop(name, "0")) for name in ("x", "y")]
        if target in uses or len(uses) > _MAX_USES or "transform-origin" in attributes or target.tag not in _COPIED:
            raise NotFlatError
        numbers = [part[0] for part in place if part and part[1] in ("", "px")]
        if len(numbers) < 2:
            raise NotFlatError
        for name in ("width", "height"):
            attributes.pop(name, None)
        attributes["transform"] = f"{attributes.get('transform', '')} translate({numbers[0]} {numbers[1]})".strip()
        self._parts.append(start_tag("g", attributes))
        self._write_drawable(target, inner, number, (*uses, target))
        self._parts.append("</g>")

    def _write_painted(self, node: Node, attributes: dict[str, str], inner: Context, number: int) -> None:
        """A shape, a text or a part of a text in the colour of its number."""
        if node.tag in _LINES and any(_names_marker(marker, self.ids) for marker in inner.markers):
            raise NotFlatError
        opacities = {"fill": inner.opacity * inner.fill_opacity, "stroke": inner.opacity * inner.stroke_opacity}
        for name, opacity in opacities.items():
            painted = flat_paint(name, inner, opacity, self.ids)
            if isinstance(painted, Node):
                attributes[name] = self._flat_gradient(painted, opacity, number, is_stroke=name == "stroke")
            else:
                attributes[name] = _colour(number) if painted else "none"
        attributes |= _hairline(inner)
        self._parts.append(start_tag(node.tag, attributes))
        for child in node.children if node.tag not in SHAPES else ():
            if isinstance(child, str):
                self._parts.append(escape(child))
            else:
                part = _flat(child)
                part.pop("id", None)
                self._write_painted(child, part, inner.enter(child), number)
        self._parts.append(f"</{node.tag}>")

    def _flat_gradient(self, gradient: Node, opacity: float, number: int, is_stroke: bool) -> str:
        """The paint for a gradient: the flat colour, nothing, or a gradient that is one or the other."""
        stops = flat_stops(gradient_stops(gradient, self.ids), opacity, self.drawing.context.min_alpha)
        if not any(paints for _, paints in stops):
            return "none"
        if all(paints for _, paints in stops) and not is_stroke:  # a stroke's has no box on a straight line
            return _colour(number)
        self._gradients += 1
        name = f"paint-order-{self._gradients}"
        # With its own attributes, since not all of them (gradientTransform) are taken over by reference.
        self._parts.append(start_tag(gradient.tag, _crisp(gradient) | {"id": name}))
        for offset, paints in stops:
            stop = {"offset": f"{offset:.6f}", "stop-color": _colour(number), "stop-opacity": str(int(paints))}
            self._parts.append(start_tag("stop", stop) + "</stop>")
        self._parts.append(f"</{gradient.tag}>")
        return f"url(#{name})"


def _number(root: Node) -> Iterator[Node]:
    """Give the drawable elements that are in the picture, not in its definitions, their numbers from 1."""
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


def _colour(number: int) -> str:
    """A number as a colour: its digits in base 256, the last one in red."""
    return f"#{number & 255:02x}{number >> 8 & 255:02x}{number >> 16:02x}"


def _crisp(node: Node) -> dict[str, str]:
    """An element's attributes without what would let it be drawn otherwise than the whole document."""
    return {name: value for name, value in node.attributes.items() if name not in _WHOLE_DOCUMENT}


def _flat(node: Node) -> dict[str, str]:
    """An element's attributes without what makes colours and without what is not flat."""
    return {name: value for name, value in node.attributes.items() if name not in _NOT_FLAT}


def _hairline(context: Context) -> dict[str, str]:
    width = context.least_stroke_width()
    return {} if width is None else {"stroke-width": f"{width:.6g}"}


def _names_marker(marker: str, ids: dict[str, Node]) -> bool:
    reference = referenced(marker, ids)
    return reference is not None and reference[0] is not None
