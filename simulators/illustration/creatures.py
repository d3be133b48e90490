"""Living things of clip art, and a robot, drawn as overlapping parts."""

from __future__ import annotations

import numpy as np

from simulators.illustration.pen import BLACK, BROWNS, SKIN, WHITE, Pen, decorate, eye, shade
from simulators.illustration.shapes import (
    arc_band,
    circle,
    ellipse,
    leaf,
    moved,
    rectangle,
    ribbon,
    rounded_rectangle,
    smooth_closed,
    smooth_open,
)


def face(pen: Pen) -> None:
    """A head with hair, ears, eyes and mouth."""
    skin, hair, width = pen.one_of(SKIN), pen.one_of([*BROWNS, BLACK, (230, 190, 80)]), pen.between(0.7, 0.85)
    if pen.chance(0.5):
        pen.fill(hair, ellipse(0, pen.between(-0.1, 0.1), width + 0.2, 1.0))
    for side in (-1, 1):
        pen.fill(skin, ellipse(side * width, 0.05, 0.16, 0.22))
    head = ellipse(0, 0, width, 0.92)
    pen.fill(skin, head)
    pen.shadow_on(head)
    fringe = [(-width, -0.2), (-0.75, -0.8), (0, -1.08), (0.75, -0.8), (width, -0.2), (0.4, -0.55), (-0.3, -0.5)]
    pen.fill(hair, smooth_closed(fringe))
    for side in (-1, 1):
        eye(pen.at(side * 0.33, -0.05, 0.17))
        pen.mark(shade(hair, 0.8), ellipse(side * 0.33, -0.33, 0.2, 0.045))
        if pen.chance(0.3):
            pen.mark((240, 120, 120), circle(side * 0.45, 0.28, 0.14), opacity=0.5)
    pen.fill(shade(skin, 0.85), ellipse(0, 0.2, 0.1, 0.13))
    mouth = arc_band(0, 0.35, pen.between(0.25, 0.4), 0.0, 0.15, np.pi - 0.15)
    pen.fill((170, 40, 50), mouth)
    if pen.chance(0.6):
        pen.mark(WHITE, rectangle(-0.22, 0.37, 0.22, 0.47), clip=mouth)


def animal(pen: Pen) -> None:
    """A sitting cat or bear: body, belly, legs, head with ears, eyes and muzzle."""
    fur = pen.one_of([*BROWNS, (150, 150, 160), (235, 150, 60), (60, 60, 70), (230, 220, 210), pen.colour()])
    light, pointed = shade(fur, 1.5), pen.chance(0.5)
    if pen.chance(0.7):
        tail = smooth_open([(0.4, 0.8), (0.9, 0.7), (1.0, 0.2), (0.8, pen.between(-0.3, 0.1))])
        pen.fill(fur, ribbon(tail, 0.22, 0.1))
    body = ellipse(0, 0.45, 0.55, 0.6)
    pen.fill(fur, body)
    pen.shadow_on(body)
    pen.mark(light, ellipse(0, 0.52, 0.32, 0.42))
    for side in (-1, 1):
        pen.fill(fur, ellipse(side * 0.38, 0.92, 0.26, 0.14))
        ear = [(side * 0.55, -0.25), (side * 0.52, -1.0), (side * 0.05, -0.6)]
        outer = np.array(ear) if pointed else circle(side * 0.45, -0.78, 0.22)
        pen.fill(fur, outer)
        pen.mark((240, 170, 170), outer.mean(axis=0) + (outer - outer.mean(axis=0)) * 0.5)
    head = ellipse(0, -0.35, 0.58, 0.47)
    pen.fill(fur, head)
    pen.shadow_on(head)
    pen.fill(light, ellipse(0, -0.15, 0.28, 0.2))
    for side in (-1, 1):
        eye(pen.at(side * 0.24, -0.45, 0.12))
    pen.fill(pen.one_of([BLACK, (230, 120, 130)]), ellipse(0, -0.23, 0.08, 0.055))
    for side in (-1, 1):
        whisker = np.array([[side * 0.2, -0.14], [side * 0.65, -0.2]])
        pen.mark(BLACK, ribbon(whisker, 0.02), ribbon(whisker * (1, 0.6), 0.02))


def fish(pen: Pen) -> None:
    """Tail, fins, body with stripes or scales, and an eye."""
    colour, other = pen.colour(), pen.colour()
    pen.fill(other, smooth_closed([(0.5, 0), (1.0, -0.5), (0.85, 0), (1.0, 0.5)]))
    pen.fill(other, smooth_closed([(-0.2, -0.3), (0.1, -0.75), (0.45, -0.2)]))
    body = smooth_closed([(-0.9, 0.02), (-0.45, -0.4), (0.15, -0.38), (0.7, -0.02), (0.15, 0.38), (-0.45, 0.4)])
    pen.fill(colour, body)
    decorate(pen, body, other)
    pen.shadow_on(body, 0.25)
    pen.fill(other, smooth_closed([(-0.15, 0.05), (0.25, 0.1), (0.2, 0.35)]))
    eye(pen.at(-0.58, -0.08, 0.11))
    pen.mark(shade(colour, 0.5), ribbon(smooth_open([(-0.82, 0.1), (-0.7, 0.14), (-0.6, 0.1)]), 0.025))


def bird(pen: Pen) -> None:
    """Legs, tail, body, belly, wing with feathers, head, beak and eye."""
    colour, wing = pen.colour(), pen.colour()
    for x in (-0.1, 0.12):
        pen.mark((230, 150, 40), rectangle(x - 0.02, 0.4, x + 0.02, 0.95), rectangle(x - 0.14, 0.91, x + 0.06, 0.95))
    pen.fill(wing, np.array([[0.4, 0.1], [1.0, -0.1], [1.0, 0.2], [0.4, 0.4]]))
    body = ellipse(0.02, 0.15, 0.58, 0.42)
    pen.fill(colour, body)
    pen.mark(shade(colour, 1.5), ellipse(-0.15, 0.3, 0.38, 0.24), clip=body)
    pen.fill((245, 170, 40), np.array([[-0.7, -0.5], [-1.05, -0.36], [-0.7, -0.26]]))
    pen.fill(colour, circle(-0.45, -0.4, 0.35))
    eye(pen.at(-0.55, -0.47, 0.09))
    for feather in range(3):
        pen.fill(shade(wing, 1 - 0.12 * feather), leaf(-0.15, 0.02 + 0.08 * feather, 0.8 - 0.12 * feather, 0.34, 1.75))


def butterfly(pen: Pen) -> None:
    """Wings with spots, body and feelers."""
    colour, spot = pen.colour(), pen.colour()
    upper = smooth_closed([(0.05, -0.1), (0.5, -0.8), (0.95, -0.7), (0.85, -0.15), (0.4, 0.08)])
    lower = smooth_closed([(0.05, 0.0), (0.55, 0.05), (0.75, 0.5), (0.45, 0.8), (0.12, 0.35)])
    for mirror in ((1, 1), (-1, 1)):
        for wing, inner in ((lower, shade(colour, 0.85)), (upper, colour)):
            pen.fill(inner, wing * mirror)
            middle = wing.mean(axis=0)
            pen.fill(spot, (middle + (wing - middle) * 0.55) * mirror)
            pen.mark(WHITE, moved(circle(0, 0, 0.09), *(middle * mirror)))
    pen.mark(BLACK, *(ribbon(smooth_open([(0, -0.4), (x, -0.65), (2 * x, -0.8)]), 0.025) for x in (-0.12, 0.12)))
    pen.fill((60, 45, 40), ellipse(0, 0.05, 0.08, 0.5))


def robot(pen: Pen) -> None:
    """Limbs, trunk with dials, head with eyes and an aerial."""
    metal, trim = pen.one_of([(150, 160, 175), (110, 130, 150), pen.colour()]), pen.colour()
    for side in (-1, 1):
        pen.fill(shade(metal, 0.8), rounded_rectangle(*sorted_box(side * 0.5, -0.05, side * 0.78, 0.5), 0.1))
        pen.fill(shade(metal, 0.7), rectangle(*sorted_box(side * 0.1, 0.6, side * 0.36, 1.0)))
        pen.fill(trim, circle(side * 0.64, 0.55, 0.14))
    trunk = rounded_rectangle(-0.52, -0.12, 0.52, 0.72, 0.1)
    pen.fill(metal, trunk)
    pen.shadow_on(trunk, 0.5)
    pen.fill(shade(metal, 1.5), rectangle(-0.36, 0.06, 0.36, 0.5))
    for place in range(3):
        pen.fill(pen.colour(), circle(-0.22 + 0.22 * place, 0.2, 0.07))
    pen.mark(trim, rectangle(-0.28, 0.34, pen.between(-0.1, 0.28), 0.42))
    pen.mark((90, 90, 95), rectangle(-0.025, -0.95, 0.025, -0.7))
    pen.fill((220, 50, 50), circle(0, -0.95, 0.07))
    pen.fill(metal, rounded_rectangle(-0.4, -0.75, 0.4, -0.15, 0.12))
    for side in (-1, 1):
        eye(pen.at(side * 0.18, -0.5, 0.12))
    pen.fill((60, 60, 70), rectangle(-0.22, -0.32, 0.22, -0.22))
    pen.mark(WHITE, *(rectangle(x - 0.03, -0.3, x + 0.03, -0.24) for x in (-0.14, -0.05, 0.05, 0.14)))


def sorted_box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    """Return a box with left and right in order, which mirroring may have swapped."""
    return min(left, right), top, max(left, right), bottom
