"""Layout of a small city: streets, buildings, trees and cars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from formats.ade20k import CAR, TREE
from simulators.city.solids import Array, Colour, Look, Solid, house, prism

SIDEWALK_WIDTH = 3.0
MAX_FLOORS = 20  # with a tower of five more and machines on its roof still below the cameras at 100 m
BLOCKS = 6  # along each side of the city
NOISE_SIZE = 256  # a power of 2, so that the noise repeats without a seam

# White, plaster, sandstone, brick, ochre, pink, grey-blue, green-grey, concrete.
WALLS: tuple[Colour, ...] = (
    (0.90, 0.89, 0.86), (0.85, 0.79, 0.67), (0.78, 0.68, 0.54), (0.64, 0.43, 0.36), (0.84, 0.71, 0.48),
    (0.82, 0.67, 0.63), (0.60, 0.67, 0.75), (0.65, 0.70, 0.62), (0.68, 0.67, 0.66),
)  # fmt: skip
TILES: tuple[Colour, ...] = ((0.66, 0.41, 0.32), (0.53, 0.34, 0.30), (0.40, 0.39, 0.42), (0.72, 0.51, 0.37))
FLAT_ROOFS: tuple[Colour, ...] = (
    (0.62, 0.61, 0.59), (0.46, 0.46, 0.48), (0.72, 0.69, 0.62), (0.52, 0.58, 0.46), (0.82, 0.81, 0.79),
)  # fmt: skip
PAINTS: tuple[Colour, ...] = (
    (0.80, 0.80, 0.80), (0.12, 0.12, 0.14), (0.60, 0.08, 0.08), (0.12, 0.22, 0.48), (0.50, 0.52, 0.54),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class City:
    """Content of a city for rendering.

    Args:
        solids: Buildings, rooftop structures, tree trunks and cars.
        crowns: (T, 6) ellipsoids of tree crowns: centre, then half axes along x, y and z.
        crown_colours: (T, 3) reflectances.
        streets_x: (BLOCKS + 1, 2) west and east edges of the streets that run north.
        streets_y: (BLOCKS + 1, 2) south and north edges of the streets that run east.
        paved: (BLOCKS, BLOCKS) bool by column and row: whether the ground of a block is paved rather than lawn.
        sun: (3,) unit vector towards the sun.
        noise: (NOISE_SIZE, NOISE_SIZE) random numbers 0…1 used by all textures.
    """

    solids: tuple[Solid, ...]
    crowns: Array
    crown_colours: Array
    streets_x: Array
    streets_y: Array
    paved: NDArray[np.bool_]
    sun: Array
    noise: Array


def draw_city(rng: np.random.Generator) -> City:
    """Draw a random city of ``BLOCKS`` × ``BLOCKS`` blocks, about 400 m wide, around the origin."""
    streets_x, streets_y = _streets(rng), _streets(rng)
    paved = np.zeros((BLOCKS, BLOCKS), np.bool_)
    solids: list[Solid] = []
    trees: list[Spot] = []
    height = rng.uniform(11.0, 20.0)
    for column in range(BLOCKS):
        for row in range(BLOCKS):
            west, east = streets_x[column, 1], streets_x[column + 1, 0]
            south, north = streets_y[row, 1], streets_y[row + 1, 0]
            block = (float(west), float(south), float(east), float(north))
            # Buildings are higher towards the centre; some blocks are parks.
            distance = np.hypot(column - (BLOCKS - 1) / 2, row - (BLOCKS - 1) / 2)
            typical = height * (1.5 - 0.32 * distance) * rng.uniform(0.6, 1.4)
            if rng.uniform() < 0.1:
                trees += [(rng.uniform(west, east), rng.uniform(south, north)) for _ in range(14)]
            else:
                paved[column, row] = typical > 10
                for plot in _plots(block, rng):
                    solids += _building(plot, typical, rng)
    trees += _street_trees(streets_x, streets_y, rng)
    trunks, crowns, colours = _trees(_outside(trees, solids), rng)
    elevation, azimuth = radians(rng.uniform(32.0, 58.0)), rng.uniform(0, 2 * np.pi)
    return City(
        solids=(*solids, *trunks, *_cars(streets_x, streets_y, rng)),
        crowns=crowns,
        crown_colours=colours,
        streets_x=streets_x,
        streets_y=streets_y,
        paved=paved,
        sun=np.array([cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)]),
        noise=rng.uniform(size=(NOISE_SIZE, NOISE_SIZE)),
    )


def _streets(rng: np.random.Generator) -> Array:
    widths, blocks = rng.uniform(13.0, 21.0, BLOCKS + 1), rng.uniform(40.0, 62.0, BLOCKS)
    starts = np.concatenate([[0.0], np.cumsum(widths[:-1] + blocks)])
    edges: Array = np.stack([starts, starts + widths], axis=1) - (starts[-1] + widths[-1]) / 2
    return edges


Spot = tuple[float, float]  # east and north of the origin
Plot = tuple[float, float, float, float]  # west, south, east, north


def _plots(block: Plot, rng: np.random.Generator) -> list[Plot]:
    """Split a block across its longer side until its parts have the size of one building."""
    west, south, east, north = block
    if max(east - west, north - south) < rng.uniform(22.0, 38.0):
        return [block]
    share = rng.uniform(0.36, 0.64)
    if east - west > north - south:
        cut = west + share * (east - west)
        return _plots((west, south, cut, north), rng) + _plots((cut, south, east, north), rng)
    cut = south + share * (north - south)
    return _plots((west, south, east, cut), rng) + _plots((west, cut, east, north), rng)


def _building(plot: Plot, typical: float, rng: np.random.Generator) -> list[Solid]:
    """Place a house, or a flat-roofed building with structures on its roof, on a plot."""
    west, south, east, north = plot
    low = typical < 10
    gap = rng.uniform(1.5, 4.0, 4) if low else rng.uniform(0.0, 1.2, 4)
    gap = np.minimum(gap, 0.15 * min(east - west, north - south))
    half = (east - west - gap[0] - gap[2]) / 2, (north - south - gap[1] - gap[3]) / 2
    centre = (west + gap[0] + half[0], south + gap[1] + half[1])
    angle = 0.0
    if low and rng.uniform() < 0.3:  # not every house is parallel to the street
        angle, half = rng.uniform(-0.25, 0.25), (0.8 * half[0], 0.8 * half[1])
    look = Look(
        wall=_shade(WALLS, rng),
        roof=_shade(FLAT_ROOFS, rng),
        storey=rng.uniform(2.9, 3.8),
        bay=rng.uniform(2.2, 4.2),
        pane_width=rng.choice([0.42, 0.55, 0.86, 1.0], p=[0.4, 0.35, 0.15, 0.1]),
        pane_height=rng.uniform(0.45, 0.62),
        shops=not low and rng.uniform() < 0.7,
        variant=int(rng.integers(1 << 30)),
    )
    floors = round(typical * rng.lognormal(0.0, 0.3) / look.storey)
    floors = min(max(floors, 2), MAX_FLOORS)
    top = floors * look.storey + 0.8
    look = look._replace(window_top=top - 0.6)
    if low or (floors <= 5 and rng.uniform() < 0.4):
        if half[0] < half[1]:
            half, angle = (half[1], half[0]), angle + np.pi / 2
        look = look._replace(roof=_shade(TILES, rng), tiled=True)
        rise = half[1] * rng.uniform(0.45, 0.8)
        return [house(centre, half, angle, top - 0.6, min(rise, 6.0), bool(rng.uniform() < 0.4), look)]
    solids = [prism(centre, half, angle, top, look)]
    if floors >= 7 and rng.uniform() < 0.6:  # a tower set back from its base
        half = (half[0] * rng.uniform(0.55, 0.8), half[1] * rng.uniform(0.55, 0.8))
        top += look.storey * int(rng.integers(2, 6))
        upper = look._replace(variant=look.variant + 1, window_top=top - 0.6, shops=False)
        solids.append(prism(centre, half, angle, top, upper))
    grey = _shade(FLAT_ROOFS, rng)
    for _ in range(int(rng.integers(1, 4))):  # lift shafts and machines
        size = (min(rng.uniform(1.0, 3.0), half[0] / 3), min(rng.uniform(1.0, 3.0), half[1] / 3))
        place = (
            centre[0] + rng.uniform(-1, 1) * max(0.0, half[0] - size[0] - 1),
            centre[1] + rng.uniform(-1, 1) * max(0.0, half[1] - size[1] - 1),
        )
        solids.append(prism(place, size, angle, top + rng.uniform(0.8, 2.6), Look(wall=grey, roof=grey)))
    return solids


def _shade(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))])
    red, green, blue = np.clip(base * rng.uniform(0.88, 1.1) + rng.uniform(-0.03, 0.03, 3), 0.03, 0.92)
    return float(red), float(green), float(blue)


def _along_streets(
    streets: Array, crossing: Array, setback: float, clear: float
) -> Iterator[tuple[float, float, float]]:
    """Yield, per block and side of a street, a line: its position across the street, and its start and end along it."""
    for start, end in streets:
        for side in (start + setback, end - setback):
            for low, high in zip(crossing[:-1, 1] + clear, crossing[1:, 0] - clear, strict=True):
                yield side, low, high


def _street_trees(streets_x: Array, streets_y: Array, rng: np.random.Generator) -> list[Spot]:
    """Place rows of trees on most sidewalks, away from crossings."""
    trees: list[Spot] = []
    for streets, crossing, eastward in ((streets_x, streets_y, False), (streets_y, streets_x, True)):
        for side, low, high in _along_streets(streets, crossing, 2.0, 5.0):
            spacing = rng.uniform(10.0, 22.0) if rng.uniform() < 0.65 else 60.0
            for place in np.arange(low + rng.uniform(0, 6), high, spacing):
                trees.append((float(place), side) if eastward else (side, float(place)))
    return trees


def _outside(points: list[Spot], solids: list[Solid], margin: float = 1.5) -> list[Spot]:
    """Return the points that keep a distance from all walls."""
    walls = np.array([solid.normals[:4, :2] for solid in solids]).reshape(-1, 4, 2)
    offsets = np.array([solid.offsets[:4] for solid in solids]).reshape(-1, 4)
    return [point for point in points if not (walls @ np.array(point) < offsets + margin).all(axis=1).any()]


def _trees(places: list[Spot], rng: np.random.Generator) -> tuple[list[Solid], Array, Array]:
    bark = Look(wall=(0.30, 0.22, 0.16), roof=(0.30, 0.22, 0.16), label=TREE)
    trunks, crowns, colours = [], [], []
    for place in places:
        radius, height = rng.uniform(1.5, 2.7), rng.uniform(1.8, 3.2)
        stem = rng.uniform(2.2, 3.4)
        trunks.append(prism(place, (0.16, 0.16), rng.uniform(0, 1.5), stem + 0.5, bark))
        crowns.append([*place, stem + height * 0.9, radius, radius * rng.uniform(0.85, 1.15), height])
        colours.append(_shade(((0.22, 0.40, 0.13), (0.34, 0.46, 0.15), (0.20, 0.33, 0.17)), rng))
    return trunks, np.array(crowns).reshape(-1, 6), np.array(colours).reshape(-1, 3)


def _cars(streets_x: Array, streets_y: Array, rng: np.random.Generator) -> list[Solid]:
    """Place parked cars along the streets, away from crossings."""
    cars = []
    for streets, crossing, eastward in ((streets_x, streets_y, False), (streets_y, streets_x, True)):
        for side, low, high in _along_streets(streets[1:-1], crossing, SIDEWALK_WIDTH + 1.1, 8.0):
            for place in np.arange(low, high, 6.0):
                if rng.uniform() < 0.25:
                    centre = (float(place), side) if eastward else (side, float(place))
                    angle, paint = (0.0 if eastward else np.pi / 2), _shade(PAINTS, rng)
                    body = Look(wall=paint, roof=paint, label=CAR)
                    cabin = body._replace(wall=(0.10, 0.13, 0.16))
                    cars.append(prism(centre, (2.1, 0.88), angle, rng.uniform(0.8, 0.95), body))
                    cars.append(prism(centre, (1.2, 0.75), angle, rng.uniform(1.4, 1.6), cabin))
    return cars
