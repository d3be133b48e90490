"""Objects of clip art, drawn as overlapping parts: large shapes first, small ones on top of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulators.illustration.creatures import animal, bird, butterfly, face, fish, robot
from simulators.illustration.pen import BLACK, BROWNS, GREENS, WHITE, Pen, blob, decorate, eye, shade
from simulators.illustration.shapes import (
    Outline,
    arc_band,
    circle,
    ellipse,
    leaf,
    moved,
    polygon,
    rectangle,
    ribbon,
    rounded_rectangle,
    smooth_closed,
    smooth_open,
    star,
)


def house(pen: Pen) -> None:
    """Walls, roof, chimney, door and windows with panes."""
    wall, roof, wood = (
        pen.colour(),
        pen.one_of([(178, 34, 34), (120, 60, 40), (70, 80, 110), pen.colour()]),
        pen.colour(),
    )
    width = pen.between(0.6, 0.9)
    if pen.chance(0.6):
        chimney = pen.between(0.2, 0.5)
        pen.fill(shade(roof, 0.7), rectangle(chimney - 0.1, -0.95, chimney + 0.1, -0.3))
    walls = rectangle(-width, -0.25, width, 0.95)
    pen.fill(wall, walls)
    pen.shadow_on(walls, 0.8)
    pen.fill(roof, np.array([[-width - 0.15, -0.2], [0, -1.0], [width + 0.15, -0.2]]))
    door = pen.between(-0.3, 0.3)
    pen.fill(wood, rounded_rectangle(door - 0.17, 0.3, door + 0.17, 0.95, pen.one_of([0, 0.17])))
    pen.mark((240, 200, 60), circle(door + 0.1, 0.65, 0.03))
    for x in (-width + 0.25, width - 0.25):
        if abs(x - door) < 0.36:
            continue
        pen.fill((245, 245, 245), rectangle(x - 0.17, 0.1, x + 0.17, 0.48))
        pen.mark((150, 205, 235), rectangle(x - 0.13, 0.14, x + 0.13, 0.44))
        bars = rectangle(x - 0.015, 0.14, x + 0.015, 0.44), rectangle(x - 0.13, 0.275, x + 0.13, 0.305)
        pen.mark((245, 245, 245), *bars)
    if pen.chance(0.4):
        pen.fill((150, 205, 235), circle(0, -0.5, 0.14))


def tree(pen: Pen) -> None:
    """A trunk under a crown: one blob, several circles, or three tiers."""
    green, kind = pen.one_of(GREENS), pen.rng.integers(3)
    pen.fill(pen.one_of(BROWNS), np.array([[-0.1, -0.2], [0.1, -0.2], [0.16, 1.0], [-0.16, 1.0]]))
    if kind == 0:
        crown = moved(blob(pen.rng, 0.12, 10) * 0.62, 0, -0.35)
        pen.fill(green, crown)
        pen.shadow_on(crown)
    elif kind == 1:
        for x, y, radius in ((-0.35, -0.1, 0.36), (0.36, -0.12, 0.36), (0, -0.5, 0.46), (0.02, -0.08, 0.3)):
            pen.fill(shade(green, pen.between(0.85, 1.15)), circle(x, y, radius))
    else:
        for storey in range(3):
            top, width = 0.15 - 0.42 * storey, 0.62 - 0.13 * storey
            pen.fill(
                shade(green, 0.85 + 0.15 * storey),
                np.array([[-width, top + 0.35], [0, top - 0.4], [width, top + 0.35]]),
            )
    if kind < 2 and pen.chance(0.4):
        fruit = pen.one_of([(214, 40, 40), (250, 160, 30), (250, 220, 60)])
        for _ in range(pen.rng.integers(3, 8)):
            angle, reach = pen.between(0, 6.3), pen.between(0, 0.42)
            pen.fill(fruit, circle(reach * np.cos(angle), -0.3 + reach * np.sin(angle), 0.07))


def flower(pen: Pen) -> None:
    """A stem with leaves, overlapping petals, and the centre."""
    petals, colour, green = int(pen.rng.integers(5, 11)), pen.colour(), pen.one_of(GREENS)
    pen.fill(green, ribbon(smooth_open([(0, -0.3), (pen.between(-0.15, 0.15), 0.3), (0, 1.0)]), 0.09), stroke=None)
    for side in (-1, 1):
        if pen.chance(0.7):
            pen.fill(green, leaf(0, pen.between(0.4, 0.8), 0.5, 0.25, side * pen.between(0.7, 1.2)))
    for angle in np.arange(petals) * (2 * np.pi / petals):
        pen.fill(colour, leaf(0, -0.4, 0.58, 2.6 / petals, angle))
    middle = circle(0, -0.4, 0.2)
    pen.fill(pen.one_of([(250, 200, 40), (120, 70, 30), (255, 240, 150)]), middle)
    pen.shadow_on(middle, 0.1)
    if pen.chance(0.5):
        seeds = [circle(pen.between(-0.1, 0.1), pen.between(-0.5, -0.3), 0.02) for _ in range(6)]
        pen.mark((130, 80, 20), *seeds)


def car(pen: Pen) -> None:
    """Body, windows, lights and wheels."""
    colour = pen.colour()
    cabin = smooth_closed([(-0.55, -0.05), (-0.35, -0.5), (0.25, -0.5), (0.55, -0.05)])
    pen.fill(shade(colour, 0.9), cabin)
    pen.mark((170, 215, 240), smooth_closed([(-0.42, -0.1), (-0.28, -0.4), (-0.05, -0.4), (-0.05, -0.08)]))
    pen.mark((170, 215, 240), smooth_closed([(0.05, -0.08), (0.05, -0.4), (0.22, -0.4), (0.42, -0.1)]))
    body = rounded_rectangle(-1.0, -0.1, 1.0, 0.4, 0.2)
    pen.fill(colour, body)
    pen.shadow_on(body, 0.25)
    pen.mark(shade(colour, 0.6), rectangle(-0.02, -0.08, 0.0, 0.38), rectangle(-0.2, 0.02, -0.07, 0.05))
    pen.fill((255, 235, 140), ellipse(-0.92, 0.1, 0.08, 0.1))
    pen.fill((220, 40, 40), rectangle(0.9, 0.02, 1.0, 0.16))
    for x in (-0.55, 0.55):
        pen.fill((40, 40, 45), circle(x, 0.42, 0.25))
        pen.fill((190, 190, 195), circle(x, 0.42, 0.13))
        pen.mark((90, 90, 95), circle(x, 0.42, 0.04))


def balloon(pen: Pen) -> None:
    """A hot-air balloon: envelope with gores, ropes and basket."""
    colour, other, wood = pen.colour(), pen.colour(), pen.one_of(BROWNS)
    pen.mark(shade(wood, 0.6), *(ribbon(np.array([[x, 0.1], [x * 0.5, 0.75]]), 0.02) for x in (-0.3, -0.1, 0.1, 0.3)))
    envelope = smooth_closed(
        [(0, -1), (0.5, -0.83), (0.68, -0.4), (0.3, 0.15), (-0.3, 0.15), (-0.68, -0.4), (-0.5, -0.83)]
    )
    pen.fill(colour, envelope)
    for width in (0.42, 0.16):
        pen.fill(other if width > 0.2 else colour, ellipse(0, -0.4, width, 0.62), clip=envelope)
    pen.shadow_on(envelope)
    pen.fill(wood, rounded_rectangle(-0.18, 0.7, 0.18, 1.0, 0.05))
    pen.mark(shade(wood, 1.3), *(rectangle(-0.18, y, 0.18, y + 0.03) for y in (0.77, 0.85, 0.93)))


def cup(pen: Pen) -> None:
    """A saucer, a decorated mug with a handle, and a drink."""
    colour, drink = pen.colour(), pen.one_of([(90, 50, 25), (200, 120, 40), (130, 180, 90)])
    pen.fill(shade(colour, 1.4), ellipse(0, 0.78, 0.95, 0.2))
    pen.fill(colour, circle(0.62, 0.1, 0.36), holes=(circle(0.62, 0.1, 0.22),))
    side = np.array([[-0.65, -0.45], [0.65, -0.45], [0.5, 0.75], [-0.5, 0.75]])
    pen.fill(colour, side)
    decorate(pen, side, pen.colour())
    pen.shadow_on(side, 0.5)
    pen.fill(shade(colour, 1.3), ellipse(0, -0.45, 0.65, 0.2))
    pen.fill(drink, ellipse(0, -0.42, 0.55, 0.14))
    if pen.chance(0.5):
        for x in (-0.2, 0.2):
            steam = smooth_open([(x, -0.5), (x + 0.12, -0.68), (x - 0.08, -0.84), (x + 0.05, -1.0)])
            pen.mark((200, 205, 210), ribbon(steam, 0.06), opacity=0.7)


def badge(pen: Pen) -> None:
    """A sign: concentric shapes, and a star or a small object on top."""
    corners, angle = int(pen.rng.integers(3, 9)), pen.between(0, 1)
    kinds: list[Callable[[float], Outline]] = [
        lambda radius: circle(0, 0, radius),
        lambda radius: polygon(0, 0, radius, corners, angle),
        lambda radius: rounded_rectangle(-radius, -radius * 0.7, radius, radius * 0.7, 0.15),
        lambda radius: star(0, 0, radius, radius * 0.85, 2 * corners + 4),
    ]
    shape = pen.one_of(kinds)
    radius = 1.0
    for _ in range(pen.rng.integers(2, 5)):
        pen.fill(pen.one_of([pen.colour(), WHITE, BLACK, pen.colour()]), shape(radius))
        radius *= pen.between(0.72, 0.9)
    if pen.chance(0.5):
        pen.fill(pen.colour(), star(0, 0, 0.62 * radius, 0.27 * radius, int(pen.rng.integers(4, 8))))
    else:
        pen.one_of(SMALL)(pen.at(0, 0, 0.6 * radius))


def mushroom(pen: Pen) -> None:
    """A stalk under a spotted cap."""
    pen.fill((245, 235, 215), smooth_closed([(-0.2, 0.0), (0.2, 0.0), (0.3, 0.9), (0, 1.0), (-0.3, 0.9)]))
    cap = smooth_closed([(-0.9, 0.1), (-0.65, -0.5), (0, -0.85), (0.65, -0.5), (0.9, 0.1), (0, 0.22)])
    pen.fill(pen.one_of([(214, 40, 40), (170, 100, 60), pen.colour()]), cap)
    pen.shadow_on(cap)
    for _ in range(pen.rng.integers(4, 9)):
        pen.mark(WHITE, ellipse(pen.between(-0.8, 0.8), pen.between(-0.7, 0.1), 0.13, 0.1), clip=cap)


def boat(pen: Pen) -> None:
    """Mast, sails, flag, hull and waves."""
    pen.mark((100, 70, 40), rectangle(-0.03, -0.95, 0.03, 0.4))
    pen.fill(pen.one_of([WHITE, pen.colour()]), smooth_closed([(0.06, -0.8), (0.5, -0.2), (0.7, 0.25), (0.06, 0.28)]))
    pen.fill(pen.colour(), np.array([[-0.06, -0.7], [-0.06, 0.28], [-0.6, 0.28]]))
    pen.fill((220, 50, 50), np.array([[0, -1.0], [0.3, -0.92], [0, -0.84]]))
    hull = np.array([[-0.85, 0.35], [0.9, 0.35], [0.6, 0.8], [-0.6, 0.8]])
    pen.fill(pen.colour(), hull)
    pen.mark(WHITE, rectangle(-1, 0.45, 1, 0.53), clip=hull)
    x = np.linspace(-1.1, 1.1, 40)
    wave = np.stack([x, 0.75 + 0.06 * np.sin(x * 9)], axis=1)
    pen.fill((60, 130, 200), np.concatenate([wave, [[1.1, 1.0], [-1.1, 1.0]]]), stroke=None)


def present(pen: Pen) -> None:
    """A box with a pattern, ribbons, lid and bow."""
    colour, band = pen.colour(), pen.colour()
    box = rectangle(-0.7, -0.1, 0.7, 0.95)
    pen.fill(colour, box)
    decorate(pen, box, shade(colour, 1.5))
    pen.fill(band, rectangle(-0.13, -0.1, 0.13, 0.95))
    pen.fill(shade(colour, 0.85), rectangle(-0.8, -0.35, 0.8, -0.08))
    pen.fill(band, rectangle(-0.14, -0.35, 0.14, -0.08))
    for side in (-1, 1):
        pen.fill(band, leaf(0, -0.35, 0.65, 0.42, side * 0.9))
        pen.mark(shade(band, 0.7), leaf(side * 0.08, -0.4, 0.4, 0.2, side * 0.9))
    pen.fill(band, circle(0, -0.38, 0.11))


def cloud(pen: Pen) -> None:
    """One outline of overlapping circles."""
    colour = pen.one_of([WHITE, (235, 240, 245), (200, 215, 230)])
    parts = [(-0.5, 0.1, 0.32), (0.5, 0.12, 0.3), (-0.12, -0.12, 0.42), (0.25, -0.02, 0.35)]
    pen.mark(colour, *(circle(*part) for part in parts), rounded_rectangle(-0.8, 0.1, 0.8, 0.42, 0.15))


def sun(pen: Pen) -> None:
    """A disc on rays."""
    rays = int(pen.rng.integers(8, 16))
    pen.fill((250, 180, 40), star(0, 0, 1.0, 0.6, rays))
    disc = circle(0, 0, 0.6)
    pen.fill((255, 215, 70), disc)
    if pen.chance(0.3):
        for side in (-1, 1):
            eye(pen.at(side * 0.2, -0.1, 0.1))
        pen.mark((200, 80, 30), arc_band(0, 0.08, 0.3, 0.25, 0.4, np.pi - 0.4))


def heart(pen: Pen) -> None:
    """A heart."""
    points = [
        (0, 0.85),
        (-0.75, 0.05),
        (-0.75, -0.55),
        (-0.35, -0.75),
        (0, -0.4),
        (0.35, -0.75),
        (0.75, -0.55),
        (0.75, 0.05),
    ]
    outline = smooth_closed(points)
    pen.fill(pen.colour(), outline)
    pen.shadow_on(outline)


def shape(pen: Pen) -> None:
    """Any plain shape, often with a pattern, sometimes with a smaller shape on it."""
    rng, colour = pen.rng, pen.colour()
    kinds = [
        lambda: ellipse(0, 0, pen.between(0.5, 1), pen.between(0.5, 1)),
        lambda: rounded_rectangle(-pen.between(0.5, 1), -pen.between(0.4, 0.9), 0.9, 0.8, pen.between(0, 0.4)),
        lambda: polygon(0, 0, 1, int(rng.integers(3, 9)), pen.between(0, 3)),
        lambda: star(0, 0, 1, pen.between(0.3, 0.7), int(rng.integers(4, 12))),
        lambda: blob(rng, pen.between(0.1, 0.5), int(rng.integers(5, 12))),
        lambda: leaf(0, 0.9, 1.8, pen.between(0.5, 1.0)),
        lambda: arc_band(0, 0, 1, pen.between(0.4, 0.8), 0, pen.between(1.5, 5.5)),
        lambda: ribbon(smooth_open(rng.uniform(-1, 1, (4, 2))), pen.between(0.06, 0.3), pen.between(0.02, 0.2)),
    ]
    kind = rng.integers(len(kinds) + 1)
    if kind == len(kinds):
        pen.fill(colour, circle(0, 0, 1), holes=(circle(0, 0, pen.between(0.4, 0.85)),))
        return
    outline = kinds[kind]()
    pen.fill(colour, outline)
    if kind < len(kinds) - 2:
        decorate(pen, outline, pen.colour())
        pen.shadow_on(outline)
        if pen.chance(0.35):
            shape(pen.at(0, 0, pen.between(0.3, 0.55), pen.between(-1, 1)))


SMALL: tuple[Callable[[Pen], None], ...] = (heart, sun, flower, fish, bird, mushroom, butterfly, shape)
OBJECTS: tuple[Callable[[Pen], None], ...] = (
    face, animal, house, tree, flower, fish, bird, car, balloon, cup, robot, badge, butterfly, mushroom, boat, present,
)  # fmt: skip
