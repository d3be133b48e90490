"""Pen that draws in the style of an illustration, and parts that many drawings share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulators.illustration.rendering import Colour, Element
from simulators.illustration.shapes import Outline, circle, ellipse, moved, rectangle, smooth_closed, turned

SKIN = [(255, 219, 172), (241, 194, 125), (224, 172, 105), (198, 134, 66), (141, 85, 36), (255, 224, 189)]
GREENS = [(58, 125, 68), (106, 168, 79), (34, 139, 34), (124, 179, 66), (0, 100, 60), (154, 205, 50)]
BROWNS = [(121, 85, 72), (93, 64, 55), (139, 90, 43), (160, 110, 60), (101, 67, 33)]
BLACK, WHITE = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True)
class Style:
    """Style of an illustration.

    Attributes:
        palette: Colours of objects.
        stroke_width: Width of outlines as a share of the canvas; 0 for none.
        dark_stroke: Whether outlines are black; otherwise they are a darker shade of the fill.
        gradients: Share of the fills that are gradients.
        shading: Share of the objects with shadows and highlights.
    """

    palette: tuple[Colour, ...]
    stroke_width: float
    dark_stroke: bool
    gradients: float
    shading: float


@dataclass(frozen=True)
class Pen:
    """Draws outlines given in its own frame, in which an object spans about −1…1.

    Attributes:
        elements: Elements drawn so far, from below; shared by all pens of an illustration.
        rng: Random number generator.
        style: Style of the illustration.
        x: Centre of the frame on the canvas.
        y: Centre of the frame on the canvas.
        scale: Unit length of the frame on the canvas.
        angle: Rotation of the frame in radians, clockwise.
        mirror: −1 mirrors left to right.
    """

    elements: list[Element]
    rng: np.random.Generator
    style: Style
    x: float = 0.5
    y: float = 0.5
    scale: float = 0.4
    angle: float = 0.0
    mirror: int = 1

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> Pen:
        """Return a pen for an object of size ``scale`` centred at (x, y) in this frame."""
        ((x, y),) = self.place(np.array([[x, y]]))
        return replace(self, x=x, y=y, scale=self.scale * scale, angle=self.angle + self.mirror * angle)

    def place(self, outline: Outline) -> Outline:
        """Transform an outline from the frame to the canvas."""
        return moved(turned(outline * (self.scale * self.mirror, self.scale), self.angle), self.x, self.y)

    def fill(self, colour: Colour, *outlines: Outline, clip: Outline | None = None, **more: Any) -> None:
        """Add one element, with outline and gradient by the style unless ``more`` sets them."""
        style, rng = self.style, self.rng
        if "end_colour" not in more and rng.random() < style.gradients:
            more["end_colour"] = shade(colour, rng.uniform(0.55, 0.85))
            more["direction"] = ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0))[rng.integers(3)]
        if "stroke" not in more and style.stroke_width and not more.get("holes"):
            more["stroke"] = BLACK if style.dark_stroke else shade(colour, 0.6)
            more["stroke_width"] = min(style.stroke_width, 0.12 * self.scale)
        placed = tuple(self.place(outline) for outline in outlines)
        clip = None if clip is None else self.place(clip)
        more["holes"] = tuple(self.place(hole) for hole in more.get("holes", ()))
        self.elements.append(Element(placed, colour, clip=clip, **more))

    def mark(self, colour: Colour, *outlines: Outline, **more: Any) -> None:
        """Add one flat element without outline."""
        self.fill(colour, *outlines, **{"stroke": None, "end_colour": None} | more)

    def shadow_on(self, outline: Outline, shift: float = 0.35) -> None:
        """Sometimes darken the right side of a shape, or add a highlight on its left."""
        if self.rng.random() < self.style.shading:
            self.mark(BLACK, moved(outline, shift, shift * 0.4), clip=outline, opacity=self.rng.uniform(0.12, 0.3))
        if self.rng.random() < self.style.shading / 2:
            middle, extent = outline.mean(axis=0), np.ptp(outline, axis=0)
            light = ellipse(*(middle - 0.2 * extent), *(extent * (0.12, 0.09)))
            self.mark(WHITE, turned(light, -0.6, tuple(middle - 0.2 * extent)), opacity=self.rng.uniform(0.4, 0.9))

    def colour(self) -> Colour:
        """Choose a colour of the palette."""
        return self.style.palette[self.rng.integers(len(self.style.palette))]

    def one_of(self, colours: Any) -> Any:
        """Choose one at random."""
        return colours[self.rng.integers(len(colours))]

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        """Return a random number in a range."""
        return float(self.rng.uniform(low, high))


def shade(colour: Colour, factor: float) -> Colour:
    """Darken a colour (factor below 1) or lighten it (above 1, white at 2)."""
    if factor <= 1:
        red, green, blue = (round(part * factor) for part in colour)
    else:
        red, green, blue = (round(part + (255 - part) * (factor - 1)) for part in colour)
    return red, green, blue


def blob(rng: np.random.Generator, roughness: float = 0.3, corners: int = 8) -> Outline:
    """A smooth closed shape of radius about 1."""
    angles = np.arange(corners) * (2 * np.pi / corners) + rng.uniform(-0.2, 0.2, corners)
    radii = rng.uniform(1 - roughness, 1 + roughness, corners)
    return smooth_closed(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))


def eye(pen: Pen) -> None:
    """White, iris, pupil and a highlight."""
    look = pen.between(-0.25, 0.25)
    pen.fill(WHITE, ellipse(0, 0, 1, pen.between(0.8, 1.3)))
    pen.mark(pen.one_of([(60, 110, 180), (90, 60, 30), (60, 130, 70), BLACK]), circle(look, 0.1, 0.6))
    pen.mark(BLACK, circle(look, 0.1, 0.32))
    pen.mark(WHITE, circle(look - 0.2, -0.15, 0.16))


def decorate(pen: Pen, outline: Outline, colour: Colour) -> None:
    """With probability one half, draw stripes or dots on a shape, as one element clipped to it."""
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    step = pen.between(0.14, 0.4)
    kind = pen.rng.integers(6)
    if kind == 0:
        bars = [rectangle(x, top, x + step / 2, bottom) for x in np.arange(left + step / 4, right, step)]
    elif kind == 1:
        bars = [rectangle(left, y, right, y + step / 2) for y in np.arange(top + step / 4, bottom, step)]
    elif kind == 2:
        places = np.stack(np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step)), axis=-1)
        places[1::2, :, 0] += step / 2
        bars = [ellipse(x, y, step / 4, step / 4, 12) for x, y in places.reshape(-1, 2)]
    else:
        return
    pen.mark(colour, *bars, clip=outline)
