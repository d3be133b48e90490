"""Random flat illustrations in the style of clip art, with the exact paint order of every pixel."""

from __future__ import annotations

import colorsys

import numpy as np

from simulators.illustration.objects import OBJECTS, SMALL, cloud, house, shape, sun, tree
from simulators.illustration.pen import BLACK, GREENS, WHITE, Pen, Style, shade
from simulators.illustration.rendering import Colour, Element, Illustration, render
from simulators.illustration.shapes import ellipse, outset, rectangle

__all__ = ["KINDS", "Illustration", "draw_illustration", "random_illustration"]

KINDS = ("object", "landscape", "arrangement")
KIND_SHARES = (0.5, 0.2, 0.3)


def random_illustration(seed: int, size: int = 512) -> Illustration:
    """Draw an illustration with its paint orders; reproducible by its seed.

    Args:
        seed: Seed of the random numbers, at least 0.
        size: Side in pixels.
    """
    rng = np.random.default_rng([seed, 0])
    return draw_illustration(KINDS[rng.choice(len(KINDS), p=KIND_SHARES)], seed, size)


def draw_illustration(kind: str, seed: int, size: int = 512) -> Illustration:
    """Draw an illustration of one of ``KINDS``.

    ``object`` is one object of many parts, usually on white; ``landscape`` has hills, trees and houses;
    ``arrangement`` has 4 to 25 overlapping shapes and small objects.

    Args:
        kind: Kind of illustration.
        seed: Seed of the random numbers, at least 0.
        size: Side in pixels.
    """
    rng = np.random.default_rng([seed, 1 + KINDS.index(kind)])
    pen = Pen([], rng, _style(rng))
    {"object": _object, "landscape": _landscape, "arrangement": _arrangement}[kind](pen)
    return render(pen.elements, size)


def _style(rng: np.random.Generator) -> Style:
    hues = (rng.random() + np.arange(6) * rng.choice([0.07, 0.17, 0.38])) % 1
    palette = [_colour(float(hue), rng.uniform(0.35, 0.95), rng.uniform(0.45, 1.0)) for hue in hues]
    palette += [_colour(float(rng.random()), rng.uniform(0, 0.2), rng.uniform(0.3, 0.95)), (240, 240, 235)]
    if rng.random() < 0.08:  # line drawings
        return Style((WHITE, WHITE, (235, 235, 235)), float(rng.uniform(0.006, 0.014)), True, 0.0, 0.0)
    return Style(
        palette=tuple(palette),
        stroke_width=float(rng.choice([0.0, rng.uniform(0.004, 0.014)])),
        dark_stroke=bool(rng.random() < 0.6),
        gradients=float(rng.choice([0.0, 0.0, 0.4, 0.8])),
        shading=float(rng.choice([0.0, 0.4, 0.8])),
    )


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, float(saturation), float(value))
    return round(255 * red), round(255 * green), round(255 * blue)


def _whole(pen: Pen) -> Pen:
    """Return a pen without outlines whose frame is the canvas, 0…1."""
    style = Style(pen.style.palette, 0.0, False, pen.style.gradients, 0.0)
    return Pen(pen.elements, pen.rng, style, 0.0, 0.0, 1.0)


def _ground(pen: Pen, plain: float) -> None:
    """Leave the background white with probability ``plain``; else paint it, which makes it a layer."""
    if pen.chance(plain):
        return
    colour = shade(pen.colour(), pen.between(1.2, 1.8))
    _whole(pen).fill(colour, rectangle(0, 0, 1, 1))
    if pen.chance(0.3):
        rays, centre = int(pen.rng.integers(6, 12)), np.array([0.5, 0.5])
        angles = np.arange(rays) * (2 * np.pi / rays)
        wedges = [np.stack([centre, centre + _unit(angle), centre + _unit(angle + np.pi / rays)]) for angle in angles]
        _whole(pen).mark(shade(colour, 0.9), *wedges)


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _cast_shadow(pen: Pen) -> None:
    """Sometimes draw a shadow on the ground below an object."""
    if pen.chance(pen.style.shading * 0.6):
        grey = (90, 90, 95)
        pen.mark(grey, ellipse(0, 1.0, pen.between(0.7, 1.0), 0.12), opacity=pen.between(0.25, 0.6))


def _object(pen: Pen) -> None:
    _ground(pen, 0.7)
    pen = Pen(
        pen.elements,
        pen.rng,
        pen.style,
        x=pen.between(0.46, 0.54),
        y=pen.between(0.47, 0.53),
        scale=pen.between(0.33, 0.45),
        angle=pen.between(-0.15, 0.15) if pen.chance(0.3) else 0.0,
        mirror=-1 if pen.chance(0.5) else 1,
    )
    _cast_shadow(pen)
    below = len(pen.elements)
    pen.one_of(OBJECTS)(pen)
    if pen.chance(0.2):  # the silhouette in black below its parts, as in traced drawings
        whole = tuple(
            outset(outline, 0.012) for part in pen.elements[below:] if part.clip is None for outline in part.outlines
        )
        pen.elements.insert(below, Element(whole, pen.one_of([BLACK, shade(pen.colour(), 0.4)])))
    for _ in range(pen.rng.integers(0, 4)):
        pen.one_of(SMALL)(
            pen.at(pen.between(-1, 1), pen.between(-1, 1), pen.between(0.12, 0.3), pen.between(-0.5, 0.5))
        )


def _landscape(pen: Pen) -> None:
    whole, rng = _whole(pen), pen.rng
    sky = pen.one_of([(135, 206, 235), (170, 220, 245), (250, 200, 150), (40, 50, 100), (255, 240, 200)])
    if pen.chance(0.85):
        end = shade(sky, pen.between(1.3, 1.8)) if pen.chance(0.6) else None
        whole.mark(sky, rectangle(0, 0, 1, 1), end_colour=end)
    sun(pen.at(pen.between(-0.9, 0.9), pen.between(-1.0, -0.7), pen.between(0.2, 0.3)))
    for _ in range(rng.integers(0, 4)):
        cloud(pen.at(pen.between(-1.1, 1.1), pen.between(-1.1, -0.5), pen.between(0.2, 0.4)))
    hills = int(rng.integers(2, 5))
    green = pen.one_of([*GREENS, (230, 200, 140), (240, 245, 250), (150, 120, 160)])
    x = np.linspace(-0.02, 1.02, 40)
    for hill in range(hills):
        base = 0.45 + 0.42 * (hill + pen.between(0, 0.5)) / hills
        heights = base - pen.between(0.03, 0.1) * np.sin(x * pen.between(3, 9) + pen.between(0, 6))
        ridge = np.stack([x, heights], axis=1)
        whole.fill(shade(green, 1.5 - 0.6 * (hill + 1) / hills), np.concatenate([ridge, [[1.02, 1.02], [-0.02, 1.02]]]))
        things = int(rng.integers(0, 5))
        for place in sorted(rng.uniform(0.05, 0.95, things)):
            scale = pen.between(0.08, 0.13) * (0.8 + 0.5 * hill)
            foot = float(np.interp(place, x, heights)) + pen.between(0.0, 0.04)
            thing = tree if pen.chance(0.65) else house if pen.chance(0.6) else pen.one_of(OBJECTS)
            thing(Pen(pen.elements, rng, pen.style, float(place), foot - 0.9 * scale, scale))


def _arrangement(pen: Pen) -> None:
    _ground(pen, 0.5)
    count = int(pen.rng.integers(4, 26))
    # Mostly large objects first; not strictly, so that size does not determine the order.
    scales = np.exp(pen.rng.uniform(np.log(0.06), np.log(0.34), count))
    order = np.argsort(-np.log(scales) + pen.rng.normal(0, 0.7, count))
    for scale in scales[order]:
        x, y = pen.rng.uniform(0.08, 0.92, 2)
        thing = shape if pen.chance(0.6) else pen.one_of(SMALL) if pen.chance(0.6) else pen.one_of(OBJECTS)
        thing(Pen(pen.elements, pen.rng, pen.style, float(x), float(y), float(scale), pen.between(-0.6, 0.6)))
