"""A small city as convex solids on a ground plane: where streets, buildings, trees and cars stand.

World axes: x east, y north, z up, in metres; the ground is z = 0. Every solid but a tree's crown rises from
the ground as a rectangle's walls, cut off by one or more planes above, so that it needs no underside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]  # reflectance of red, green and blue, 0…1, as shown on a screen

ROAD, BUILDING, TREE, GRASS, SIDEWALK, CAR = 6, 1, 4, 9, 11, 20  # ADE20k's numbers, from 0
SKY = 2

SIDEWALK_WIDTH = 3.0
BLOCKS = 6  # along either side of the city
NOISE_SIZE = 256  # a power of 2, so that the noise repeats without a seam

# White, plaster, sandstone, brick, ochre, pink, grey-blue, green-grey, concrete.
WALLS: tuple[Colour, ...] = (
    (0.86, 0.84, 0.80), (0.82, 0.72, 0.55), (0.76, 0.60, 0.42), (0.62, 0.30, 0.22), (0.85, 0.62, 0.30),
    (0.82, 0.58, 0.52), (0.50, 0.58, 0.68), (0.55, 0.62, 0.52), (0.62, 0.61, 0.60),
)  # fmt: skip
TILES: tuple[Colour, ...] = ((0.66, 0.29, 0.18), (0.50, 0.22, 0.17), (0.33, 0.31, 0.33), (0.72, 0.42, 0.25))
FLAT_ROOFS: tuple[Colour, ...] = (
    (0.55, 0.54, 0.52), (0.36, 0.36, 0.38), (0.68, 0.64, 0.56), (0.42, 0.50, 0.38), (0.78, 0.77, 0.74),
)  # fmt: skip
PAINTS: tuple[Colour, ...] = (
    (0.80, 0.80, 0.80), (0.12, 0.12, 0.14), (0.60, 0.08, 0.08), (0.12, 0.22, 0.48), (0.50, 0.52, 0.54),
)  # fmt: skip


class Look(NamedTuple):
    """How a solid is painted; lengths in metres, shares of a window's cell 0…1."""

    wall: Colour
    roof: Colour
    label: int = BUILDING
    storey: float = 0.0  # height of a floor; 0 where there are no windows
    bay: float = 3.0  # from window to window, before fitting a whole number into the wall
    pane_width: float = 0.5
    pane_height: float = 0.5
    window_top: float = 0.0  # height up to which there are floors
    shops: bool = False  # whether the ground floor has shop windows
    tiled: bool = False  # whether the roof is pitched and tiled
    variant: int = 0  # sets apart the windows and weathering of solids that are alike


LOOK = np.dtype(
    [
        ("wall", np.float64, 3), ("roof", np.float64, 3), ("label", np.uint8), ("storey", np.float64),
        ("bay", np.float64), ("pane_width", np.float64), ("pane_height", np.float64),
        ("window_top", np.float64), ("shops", np.bool_), ("tiled", np.bool_), ("variant", np.int64),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Solid:
    """The convex set of points x with ``normals @ x <= offsets``, above the ground.

    Args:
        normals: (P, 3) unit vectors outward: four walls, then the planes above.
        offsets: (P,) distance of every plane from the origin along its normal, in metres.
        corners: (8, 3) corners of a rectangular prism that holds the solid.
        look: Its paint.
    """

    normals: Array
    offsets: Array
    corners: Array
    look: Look

    @property
    def height(self) -> float:
        """Height above the ground in metres."""
        return float(self.corners[:, 2].max())


@dataclass(frozen=True, eq=False)
class City:
    """Everything that is rendered.

    Args:
        solids: Buildings, what stands on their roofs, trunks and cars.
        crowns: (T, 6) ellipsoids of the trees: centre, then half axes along x, y and z.
        crown_colours: (T, 3) reflectances.
        streets_x: (BLOCKS + 1, 2) west and east edge of every street that runs north.
        streets_y: (BLOCKS + 1, 2) south and north edge of every street that runs east.
        paved: (BLOCKS, BLOCKS) bool by column and row: whether a block's ground is stone or lawn.
        sun: (3,) unit vector towards the sun.
        noise: (NOISE_SIZE, NOISE_SIZE) numbers 0…1 from which every texture is made.
    """

    solids: tuple[Solid, ...]
    crowns: Array
    crown_colours: Array
    streets_x: Array
    streets_y: Array
    paved: NDArray[np.bool_]
    sun: Array
    noise: Array


def prism(centre: tuple[float, float], half: tuple[float, float], angle: float, height: float, look: Look) -> Solid:
    """Build a flat-roofed solid.

    Args:
        centre: Of its ground plan.
        half: Half lengths of its ground plan's sides.
        angle: From east to the first side, in radians.
        height: Of its roof above the ground.
        look: Its paint.
    """
    along, across = np.array([cos(angle), sin(angle), 0.0]), np.array([-sin(angle), cos(angle), 0.0])
    middle = np.array([*centre, 0.0])
    normals = np.array([along, across, -along, -across, [0.0, 0.0, 1.0]])
    offsets = normals @ middle + np.array([*half, *half, height])
    plan = [middle + a * half[0] * along + b * half[1] * across for a in (-1, 1) for b in (-1, 1)]
    corners = np.array([point + [0.0, 0.0, z] for point in plan for z in (0.0, height)])
    return Solid(normals, offsets, corners, look)


def house(
    centre: tuple[float, float],
    half: tuple[float, float],
    angle: float,
    eaves: float,
    rise: float,
    hip: bool,
    look: Look,
) -> Solid:
    """Build a solid with a pitched roof; its ridge runs along the first side.

    Args:
        centre: Of its ground plan.
        half: Half lengths of its ground plan's sides.
        angle: From east to the first side, in radians.
        eaves: Height of the walls.
        rise: From the eaves to the ridge.
        hip: Whether the short sides slope too.
        look: Its paint.
    """
    box = prism(centre, half, angle, eaves + rise, look)
    # Through the eaves and, half[1] further in, the ridge; the hips have the same slope.
    walls = [1, 3, 0, 2] if hip else [1, 3]
    slopes = box.normals[walls] * rise + np.array([0.0, 0.0, half[1]])
    offsets = box.offsets[walls] * rise + half[1] * eaves
    length = np.hypot(rise, half[1])
    normals = np.concatenate([box.normals[:4], slopes / length])
    return replace(box, normals=normals, offsets=np.concatenate([box.offsets[:4], offsets / length]))


def draw_city(rng: np.random.Generator) -> City:
    """Draw a city of ``BLOCKS`` × ``BLOCKS`` blocks, about 400 m wide, around the origin."""
    streets_x, streets_y = _streets(rng), _streets(rng)
    paved = np.zeros((BLOCKS, BLOCKS), np.bool_)
    solids: list[Solid] = []
    trees: list[tuple[float, float]] = []
    height = rng.uniform(11.0, 20.0)
    for column in range(BLOCKS):
        for row in range(BLOCKS):
            west, east = streets_x[column, 1], streets_x[column + 1, 0]
            south, north = streets_y[row, 1], streets_y[row + 1, 0]
            block = (float(west), float(south), float(east), float(north))
            # Higher towards the centre; some blocks are a park.
            distance = np.hypot(column - (BLOCKS - 1) / 2, row - (BLOCKS - 1) / 2)
            typical = height * (1.5 - 0.32 * distance) * rng.uniform(0.6, 1.4)
            if rng.uniform() < 0.1:
                trees += [tuple(rng.uniform(block[:2], block[2:])) for _ in range(14)]
            else:
                paved[column, row] = typical > 10
                for plot in _plots(block, rng):
                    solids += _building(plot, typical, rng)
    trees += _street_trees(streets_x, streets_y, rng)
    trunks, crowns, colours = _trees([tree for tree in trees if not _inside(tree, solids)], rng)
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
    return np.stack([starts, starts + widths], axis=1) - (starts[-1] + widths[-1]) / 2


Plot = tuple[float, float, float, float]  # west, south, east, north


def _plots(block: Plot, rng: np.random.Generator) -> list[Plot]:
    """Cut a block across its longer side until its parts suit one building each."""
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
    """Put a house, or a flat-roofed building with what stands on its roof, on a plot."""
    west, south, east, north = plot
    low = typical < 10
    gap = rng.uniform(1.5, 4.0, 4) if low else rng.uniform(0.0, 1.2, 4)
    half = (east - west - gap[0] - gap[2]) / 2, (north - south - gap[1] - gap[3]) / 2
    centre = (west + gap[0] + half[0], south + gap[1] + half[1])
    angle = 0.0
    if low and rng.uniform() < 0.3:  # not every house stands square to the street
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
    floors = max(2, round(typical * rng.lognormal(0.0, 0.3) / look.storey))
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
    for _ in range(int(rng.integers(1, 4))):  # lift houses and machines
        size = (min(rng.uniform(1.0, 3.0), half[0] / 3), min(rng.uniform(1.0, 3.0), half[1] / 3))
        place = (
            centre[0] + rng.uniform(-1, 1) * (half[0] - size[0] - 1),
            centre[1] + rng.uniform(-1, 1) * (half[1] - size[1] - 1),
        )
        solids.append(prism(place, size, angle, top + rng.uniform(0.8, 2.6), Look(wall=grey, roof=grey)))
    return solids


def _shade(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))])
    red, green, blue = np.clip(base * rng.uniform(0.85, 1.12) + rng.uniform(-0.04, 0.04, 3), 0.03, 0.92)
    return float(red), float(green), float(blue)


def _street_trees(streets_x: Array, streets_y: Array, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Plant rows of trees on the sidewalks of some streets, clear of the crossings."""
    trees = []
    for swapped, (streets, crossing) in enumerate([(streets_x, streets_y), (streets_y, streets_x)]):
        for start, end in streets:
            spacing = rng.uniform(10.0, 22.0) if rng.uniform() < 0.6 else 60.0
            for side in (start + 2.0, end - 2.0):
                for low, high in zip(crossing[:-1, 1] + 5, crossing[1:, 0] - 5, strict=True):
                    for place in np.arange(low + rng.uniform(0, 6), high, spacing):
                        trees.append((float(place), float(side)) if swapped else (float(side), float(place)))
    return trees


def _inside(point: tuple[float, float], solids: list[Solid], margin: float = 1.5) -> bool:
    spot = np.array([*point, 1.0])
    return any(bool((solid.normals @ spot < solid.offsets + margin).all()) for solid in solids)


def _trees(places: list[tuple[float, float]], rng: np.random.Generator) -> tuple[list[Solid], Array, Array]:
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
    """Park cars along the streets, clear of the crossings."""
    cars = []
    for swapped, (streets, crossing) in enumerate([(streets_x, streets_y), (streets_y, streets_x)]):
        for start, end in streets[1:-1]:
            for side in (start + SIDEWALK_WIDTH + 1.1, end - SIDEWALK_WIDTH - 1.1):
                for low, high in zip(crossing[:-1, 1] + 8, crossing[1:, 0] - 8, strict=True):
                    for place in np.arange(low, high, 6.0)[rng.uniform(size=len(np.arange(low, high, 6.0))) < 0.25]:
                        centre = (float(place), float(side)) if swapped else (float(side), float(place))
                        angle = 0.0 if swapped else np.pi / 2
                        paint = _shade(PAINTS, rng)
                        body = Look(wall=paint, roof=paint, label=CAR)
                        cabin = Look(wall=(0.10, 0.13, 0.16), roof=paint, label=CAR)
                        cars.append(prism(centre, (2.1, 0.88), angle, rng.uniform(0.8, 0.95), body))
                        cars.append(prism(centre, (1.2, 0.75), angle, rng.uniform(1.4, 1.6), cabin))
    return cars
