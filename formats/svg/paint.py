"""Opacity of the fill and stroke of SVG elements: inherited properties, and gradients by their stops."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from PIL import ImageColor

from formats.svg.rendering import length, pixels, view_box
from formats.svg.tree import Node

MIN_ALPHA = 0.04  # at most ten of 255 grey levels: less is invisible

GRADIENTS = frozenset({"linearGradient", "radialGradient"})
_URL = re.compile(r"url\(\s*['\"]?\s*#([^'\")]*?)\s*['\"]?\s*\)\s*(.*)", re.DOTALL)
_TRANSFORM = re.compile(r"(\w+)\s*\(([^)]*)\)")


class NotFlatError(Exception):
    """The pixels that an element covers cannot be found by drawing it in one flat colour."""


@dataclass(frozen=True, slots=True)
class Context:
    """Properties that an element inherits or that apply to it through its ancestors.

    Attributes:
        fill: Paint as written.
        stroke: Paint as written.
        fill_opacity: 0…1.
        stroke_opacity: 0…1.
        stroke_width: Length as written.
        markers: Start, middle and end marker as written.
        color: Value of ``currentColor``.
        opacity: Product of the opacities of all ancestors.
        area: Pixels per square user unit.
        is_soft: Whether the element or an ancestor has a mask or filter.
        min_alpha: Paint of this alpha or less covers nothing.
    """

    fill: str = "black"
    stroke: str = "none"
    fill_opacity: float = 1.0
    stroke_opacity: float = 1.0
    stroke_width: str = "1"
    markers: tuple[str, str, str] = ("none", "none", "none")
    color: str = "black"
    opacity: float = 1.0
    area: float = 1.0
    is_soft: bool = False
    min_alpha: float = MIN_ALPHA

    def enter(self, node: Node) -> Context:
        """Return the context of the content of ``node``, its own properties included."""
        style = {name: value for name, value in node.style.items() if value.strip() != "inherit"}
        changes: dict[str, Any] = {name: style[key] for name, key in _TEXTS.items() if key in style} | {
            name: fraction(style[key]) for name, key in _FRACTIONS.items() if key in style
        }
        if not _MARKERS.isdisjoint(style):
            changes["markers"] = tuple(style.get(key, old) for key, old in zip(_MARKER_KEYS, self.markers, strict=True))
        if "opacity" in style:
            changes["opacity"] = self.opacity * fraction(style["opacity"])
        if "transform" in style:
            changes["area"] = self.area * _area(style["transform"])
        if node.tag == "svg" and node.parent is not None:
            changes["area"] = self.area * _viewport_area(node)
        if any(style.get(name, "none").strip() != "none" for name in ("mask", "filter")):
            changes["is_soft"] = True
        return replace(self, **changes) if changes else self

    def least_stroke_width(self) -> float | None:
        """Width of one pixel in user units where the stroke is thinner than that; else None."""
        parts = length(self.stroke_width)
        width = pixels(self.stroke_width) if parts else 1.0
        if not width or width <= 0 or not self.area > 0:
            return None
        pixel = 1 / math.sqrt(self.area)
        return pixel if width < pixel else None


_TEXTS = {"fill": "fill", "stroke": "stroke", "stroke_width": "stroke-width", "color": "color"}
_FRACTIONS = {"fill_opacity": "fill-opacity", "stroke_opacity": "stroke-opacity"}
_MARKER_KEYS = ("marker-start", "marker-mid", "marker-end")
_MARKERS = frozenset(_MARKER_KEYS)


def fraction(text: str) -> float:
    """Parse an opacity or an offset, clamped to 0…1; anything but a number or a percentage counts as 1."""
    parts = length(text)
    if parts is None or parts[1] not in ("", "%"):
        return 1.0
    return min(max(parts[0] / 100 if parts[1] else parts[0], 0.0), 1.0)


def colour_alpha(text: str) -> float | None:
    """Parse the alpha 0…1 of a colour; None if the renderer would not recognise it as a colour."""
    text = text.strip().lower()
    if text in ImageColor.colormap:
        return 1.0
    if text == "transparent":
        return 0.0
    if re.fullmatch(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", text):
        return {5: int(text[4:] * 2 or "0", 16), 9: int(text[7:] or "0", 16)}.get(len(text), 255) / 255
    match = re.fullmatch(r"(?:rgba?|hsla?)\(([^()/]*)\)", text)
    numbers = re.split(r"\s*,\s*|\s+", match[1].strip()) if match else []
    if len(numbers) not in (3, 4):
        return None
    return fraction(numbers[3]) if len(numbers) == 4 else 1.0


def referenced(text: str, ids: Mapping[str, Node]) -> tuple[Node | None, str] | None:
    """Parse ``url(#…)`` as (element, fallback); the element is None if missing. None if ``text`` is not a reference."""
    match = _URL.fullmatch(text.strip())
    return (ids.get(match[1]), match[2].strip()) if match else None


def flat_paint(name: str, context: Context, opacity: float, ids: Mapping[str, Node]) -> bool | Node:
    """Return whether a fill or stroke is visible, or the gradient whose stops determine where it is.

    Args:
        name: ``fill`` or ``stroke``.
        context: Context of the element, its own properties included.
        opacity: Product of all opacities that apply.
        ids: Elements of the document by id.

    Raises:
        NotFlatError: The paint is a pattern or ``context-fill`` or ``context-stroke``.
    """
    text = (context.fill if name == "fill" else context.stroke).strip()
    reference = referenced(text, ids)
    if reference is not None:
        target, text = reference
        if target is not None and target.tag == "pattern":
            raise NotFlatError
        if target is not None and target.tag in GRADIENTS and gradient_stops(target, ids):
            return target
        text = text or "none"
    if text == "none":
        return False
    if text.startswith("context-"):
        raise NotFlatError
    alpha = colour_alpha(context.color if text.lower() == "currentcolor" else text)
    if alpha is None:  # the renderer falls back to black for a fill, to none for a stroke
        alpha = 1.0 if name == "fill" else 0.0
    return alpha * opacity > context.min_alpha


def gradient_stops(gradient: Node, ids: Mapping[str, Node]) -> list[tuple[float, float]]:
    """Return (offset, alpha) of a gradient's stops, its own or those of the gradient it refers to."""
    visited: set[Node] = set()
    node: Node | None = gradient
    while node is not None and node not in visited:
        visited.add(node)
        stops = [child for child in node.elements if child.tag == "stop"]
        if stops:
            return _ascending([(fraction(stop.attributes.get("offset", "0")), _stop_alpha(stop)) for stop in stops])
        node = ids.get(node.attributes.get("href", "#")[1:])
        if node is not None and node.tag not in GRADIENTS:
            return []
    return []


def _stop_alpha(stop: Node) -> float:
    alpha = colour_alpha(stop.style.get("stop-color", "black"))
    return fraction(stop.style.get("stop-opacity", "1")) * (1.0 if alpha is None else alpha)


def _ascending(stops: list[tuple[float, float]]) -> list[tuple[float, float]]:
    least, result = 0.0, []
    for offset, alpha in stops:
        least = max(least, offset)
        result.append((least, alpha))
    return result


def flat_stops(stops: list[tuple[float, float]], opacity: float, min_alpha: float) -> list[tuple[float, bool]]:
    """Return (offset, is visible) of stops that switch where the gradient's alpha crosses the visible limit."""
    limit = min_alpha / opacity if opacity > 0 else math.inf
    result = [(stops[0][0], stops[0][1] > limit)]
    for (start, low), (end, high) in pairwise(stops):
        if (low > limit) != (high > limit):
            crossing = start + (limit - low) / (high - low) * (end - start)
            result += [(crossing, low > limit), (crossing, high > limit)]
        result.append((end, high > limit))
    return result


def _area(transform: str) -> float:
    """Return the factor by which a list of transformations scales areas."""
    area = 1.0
    for name, arguments in _TRANSFORM.findall(transform):
        try:
            numbers = [float(number) for number in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", arguments)]
        except ValueError:
            continue
        if name == "matrix" and len(numbers) == 6:
            area *= abs(numbers[0] * numbers[3] - numbers[1] * numbers[2])
        elif name == "scale" and numbers:
            area *= abs(numbers[0] * numbers[-1])
    return area


def _viewport_area(node: Node) -> float:
    box = view_box(node.attributes.get("viewBox"))
    width, height = pixels(node.attributes.get("width")), pixels(node.attributes.get("height"))
    return min(width / box[2], height / box[3]) ** 2 if box and width and height else 1.0
