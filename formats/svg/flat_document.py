"""An SVG document whose colours are numbers: every drawable element in the flat colour of its paint order.

The number is written in base 256: its last digit in red, the next in green, the first in blue. Drawn without
anti-aliasing, the document says which element is topmost at each pixel.
"""

from __future__ import annotations

from collections.abc import Callable

from formats.svg.paint import Context, NotFlatError, flat_paint, flat_stops, gradient_stops, referenced
from formats.svg.rendering import length
from formats.svg.tree import CONTAINERS, DRAWABLE, SHAPES, Node, escape, start_tag

# The whole document is drawn in the same way, on a transparent canvas.
_WHOLE_DOCUMENT = frozenset({"shape-rendering", "text-rendering", "background-color", "enable-background"})
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
_COPIED = SHAPES | {"g", "a", "text", "use"}  # targets of a use that can be drawn flat
_MAX_USES = 16  # nested


class FlatDocument:
    """Document whose colours are numbers.

    Args:
        root: Root of the document, with styles applied and drawable elements numbered.
        context: Its context.
        ids: Elements by id.
        definitions: Returns the parts of an undrawn element that the rest of the document needs.

    Attributes:
        text: The document.
        separate: Elements left out because a flat colour cannot show them, each with its context.
    """

    def __init__(self, root: Node, context: Context, ids: dict[str, Node], definitions: Callable[[Node], str]) -> None:
        self.ids, self.definitions = ids, definitions
        self.separate: list[tuple[Node, Context]] = []
        self._parts: list[str] = []
        self._gradients = self._viewports = 0
        self._min_alpha = context.min_alpha
        self._write(root, context)
        self.text = "".join(self._parts)

    def _write(self, node: Node, context: Context) -> None:
        if node.tag not in CONTAINERS and node.tag not in DRAWABLE:
            self._parts.append(self.definitions(node))
            return
        inner = context.enter(node)
        if inner.opacity <= inner.min_alpha or node.style.get("display", "").strip() == "none":
            self._parts.append(self.definitions(node))
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
                self.separate.append((node, inner))
                self._parts.append(self.definitions(node))

    def _viewport(self, node: Node) -> tuple[str, str]:
        """Return the tags around a container's content.

        A nested svg is clipped by a clip path of its viewport: the renderer's own clipping is anti-aliased, which would
        mix colours.
        """
        attributes = _flat_attributes(node)
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
        attributes = _flat_attributes(node)
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
        """Write a use as a group with a copy of its target, moved to the position of the use."""
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
        """Write a shape, a text or a part of a text in the colour of its number."""
        if node.tag in _LINES and any(_names_marker(marker, self.ids) for marker in inner.markers):
            raise NotFlatError
        opacities = {"fill": inner.opacity * inner.fill_opacity, "stroke": inner.opacity * inner.stroke_opacity}
        for name, opacity in opacities.items():
            painted = flat_paint(name, inner, opacity, self.ids)
            if isinstance(painted, Node):
                attributes[name] = self._flat_gradient(painted, opacity, number, is_stroke=name == "stroke")
            else:
                attributes[name] = _colour(number) if painted else "none"
        attributes |= hairline(inner)
        self._parts.append(start_tag(node.tag, attributes))
        for child in node.children if node.tag not in SHAPES else ():
            if isinstance(child, str):
                self._parts.append(escape(child))
            else:
                part = _flat_attributes(child)
                part.pop("id", None)
                self._write_painted(child, part, inner.enter(child), number)
        self._parts.append(f"</{node.tag}>")

    def _flat_gradient(self, gradient: Node, opacity: float, number: int, is_stroke: bool) -> str:
        """Return the paint for a gradient: the flat colour, none, or a gradient that switches between the two."""
        stops = flat_stops(gradient_stops(gradient, self.ids), opacity, self._min_alpha)
        if not any(paints for _, paints in stops):
            return "none"
        if all(paints for _, paints in stops) and not is_stroke:  # straight strokes have no box for a gradient
            return _colour(number)
        self._gradients += 1
        name = f"paint-order-{self._gradients}"
        # With its own attributes, since not all of them (gradientTransform) are inherited by reference.
        self._parts.append(start_tag(gradient.tag, crisp_attributes(gradient) | {"id": name}))
        for offset, paints in stops:
            stop = {"offset": f"{offset:.6f}", "stop-color": _colour(number), "stop-opacity": str(int(paints))}
            self._parts.append(start_tag("stop", stop) + "</stop>")
        self._parts.append(f"</{gradient.tag}>")
        return f"url(#{name})"


def _colour(number: int) -> str:
    """Return a number as a colour: its digits in base 256, the last one in red."""
    return f"#{number & 255:02x}{number >> 8 & 255:02x}{number >> 16:02x}"


def crisp_attributes(node: Node) -> dict[str, str]:
    """Return an element's attributes without those that would change how it is rendered."""
    return {name: value for name, value in node.attributes.items() if name not in _WHOLE_DOCUMENT}


def _flat_attributes(node: Node) -> dict[str, str]:
    """Return an element's attributes without those that set colours or cannot be drawn flat."""
    return {name: value for name, value in node.attributes.items() if name not in _NOT_FLAT}


def hairline(context: Context) -> dict[str, str]:
    """Return the attribute that widens a stroke thinner than a pixel to one pixel, so that it stays unbroken."""
    width = context.least_stroke_width()
    return {} if width is None else {"stroke-width": f"{width:.6g}"}


def _names_marker(marker: str, ids: dict[str, Node]) -> bool:
    reference = referenced(marker, ids)
    return reference is not None and reference[0] is not None
