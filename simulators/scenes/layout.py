"""Objects of a general scene: rooms, towns, terrain and random solids, each drawn from a random generator.

World axes: x east, y north, z up, in metres; the ground or floor is at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from simulators.city.solids import Array, Look, Solid, house, prism
from simulators.scenes.materials import (
    BRICKS,
    CHECKER,
    MATERIAL,
    PLAIN,
    SPOTS,
    STRIPES,
    WINDOWS,
    noise,
    random_colour,
    random_material,
)

Kind = Literal["room", "town", "terrain", "solids"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNPAINTED = Look((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # materials replace the looks of the city's solids


@dataclass(frozen=True, eq=False)
class Terrain:
    """Height (in metres) of the ground as smooth noise, flattened towards the middle of the scene.

    Args:
        amplitude: Standard deviation of the height, in metres.
        wavelength: Size of the noise's coarsest cell, in metres.
        offset: (2,) place in the noise.
    """

    amplitude: float
    wavelength: float
    offset: tuple[float, float]

    def height(self, x: Array, y: Array) -> Array:
        """Height (N,) at (x, y), each (N,), interpolated bilinearly between samples of the noise."""
        u, v = 16 * (x / self.wavelength) + self.offset[0], 16 * (y / self.wavelength) + self.offset[1]
        i, j = np.floor(u), np.floor(v)
        p, q = u - i, v - j

        def corner(di: int, dj: int) -> Array:
            return noise((i + di + 0.5) / 16, (j + dj + 0.5) / 16)

        low = (1 - p) * corner(0, 0) + p * corner(1, 0)
        high = (1 - p) * corner(0, 1) + p * corner(1, 1)
        return self.amplitude * ((1 - q) * low + q * high)


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is rendered.

    Args:
        kind: Kind of the scene.
        radius: Distance from the origin within which objects are placed, in metres.
        solids: Convex solids.
        crowns: (T, 6) ellipsoids: centre, then half axes along x, y and z.
        room: (3,) half width, half length and height of the room; None outdoors.
        terrain: Shape of the ground; None where it is the plane z = 0.
        materials: (S,) records of the type ``MATERIAL``: ground, every face of every solid, every ellipsoid, then
            in a room the four walls and the ceiling.
        sun: (3,) unit vector towards the light.
        sunlight: (3,) light from there.
        skylight: (3,) light from everywhere.
        sky: (2, 3) colour at the horizon and at the zenith, as shown on a screen.
        haze: Distance in metres in which haze takes 63 % of the light; infinite in a room.
    """

    kind: Kind
    radius: float
    solids: tuple[Solid, ...]
    crowns: Array
    room: Array | None
    terrain: Terrain | None
    materials: NDArray[np.void]
    sun: Array
    sunlight: Array
    skylight: Array
    sky: Array
    haze: float


def draw_scene(rng: np.random.Generator, kind: Kind | None = None) -> Scene:
    """Draw a scene of this kind, or of a random one."""
    kind = kind or KINDS[int(rng.integers(len(KINDS)))]
    room: Array | None = None
    terrain: Terrain | None = None
    if kind == "room":
        room = np.array([rng.uniform(2.5, 6.0), rng.uniform(2.5, 6.0), rng.uniform(2.4, 4.0)])
        radius = float(min(room[:2]))
        solids, crowns = _furniture(room, rng)
    elif kind == "town":
        radius = float(np.exp(rng.uniform(np.log(40.0), np.log(120.0))))
        solids, crowns = _buildings(radius, rng, int(rng.integers(8, 24)), int(rng.integers(0, 16)))
    elif kind == "terrain":
        radius = float(np.exp(rng.uniform(np.log(60.0), np.log(200.0))))
        amplitude = radius * rng.uniform(0.03, 0.10)
        terrain = Terrain(amplitude, radius * rng.uniform(3.0, 8.0), tuple(rng.uniform(0, 256, 2).tolist()))
        solids, crowns = _buildings(radius, rng, int(rng.integers(2, 8)), int(rng.integers(6, 26)), terrain)
    else:
        radius = float(np.exp(rng.uniform(np.log(4.0), np.log(20.0))))
        solids, crowns = _blocks(radius, rng)
    elevation, azimuth = radians(rng.uniform(25.0, 75.0)), rng.uniform(0, 2 * np.pi)
    if kind == "room":
        elevation = radians(rng.uniform(65.0, 85.0))
    warmth = rng.uniform(-0.12, 0.12) * np.array([1.0, 0.1, -1.0])
    overcast = rng.uniform(0.0, 1.0) if kind != "room" else rng.uniform(0.5, 1.0)
    haze = np.inf if kind == "room" else radius * float(np.exp(rng.uniform(np.log(4.0), np.log(60.0))))
    horizon = np.clip(rng.uniform(0.6, 0.95) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    return Scene(
        kind=kind,
        radius=radius,
        solids=solids,
        crowns=crowns,
        room=room,
        terrain=terrain,
        materials=_materials(kind, radius, solids, crowns, rng),
        sun=np.array([cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)]),
        sunlight=(1.25 - 0.9 * overcast) * (1 + warmth),
        skylight=(0.35 + 0.5 * overcast) * (1 - 0.5 * warmth),
        sky=np.stack([horizon, np.clip(horizon * rng.uniform([0.3, 0.5, 0.75], [1.0, 1.0, 1.1]), 0, 1)]),
        haze=haze,
    )


def _block(centre: Array, half: Array, rng: np.random.Generator) -> Solid:
    """Build a box (half sizes (3,)) turned about a random axis."""
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    normals = np.concatenate([rotation.T, -rotation.T])
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return Solid(
        normals, normals @ centre + np.concatenate([half, half]), centre + (signs * half) @ rotation.T, UNPAINTED
    )


def _furniture(room: Array, rng: np.random.Generator) -> tuple[tuple[Solid, ...], Array]:
    solids, balls = [], []
    for _ in range(int(rng.integers(6, 14))):
        half = rng.uniform(0.15, 1.0, 2)
        if rng.uniform() < 0.6:  # along a wall
            side, sign = int(rng.integers(2)), float(rng.choice([-1, 1]))
            place = rng.uniform(-0.9, 0.9, 2) * room[:2]
            place[side] = sign * (room[side] - half[side])
            angle = 0.0
        else:
            place, angle = rng.uniform(-0.75, 0.75, 2) * room[:2], rng.uniform(0, np.pi)
        height = float(np.exp(rng.uniform(np.log(0.3), np.log(0.8 * room[2]))))
        solids.append(prism((place[0], place[1]), (half[0], half[1]), angle, height, UNPAINTED))
        if rng.uniform() < 0.4:
            radius = rng.uniform(0.1, 0.35)
            balls.append([*place, height + radius, radius, radius, radius * rng.uniform(0.8, 1.2)])
    return tuple(solids), np.array(balls).reshape(-1, 6)


def _buildings(
    radius: float, rng: np.random.Generator, num_buildings: int, num_trees: int, terrain: Terrain | None = None
) -> tuple[tuple[Solid, ...], Array]:
    solids, crowns = [], []
    angle = rng.uniform(0, np.pi)
    spread = float(rng.choice([0.05, 0.3, 1.5]))
    for _ in range(num_buildings):
        x, y = rng.uniform(-1, 1, 2) * radius
        half = radius * rng.uniform(0.06, 0.2, 2)
        ground = float(terrain.height(np.array([x]), np.array([y]))[0]) if terrain else 0.0
        height = max(ground, 0.0) + radius * float(np.exp(rng.uniform(np.log(0.08), np.log(0.5))))
        turn = angle + spread * rng.uniform(-1, 1)
        if rng.uniform() < 0.4:
            rise = half[1] * rng.uniform(0.4, 1.0)
            solids.append(house((x, y), (half[0], half[1]), turn, height, rise, bool(rng.uniform() < 0.5), UNPAINTED))
        else:
            solids.append(prism((x, y), (half[0], half[1]), turn, height, UNPAINTED))
    for _ in range(num_trees):
        x, y = rng.uniform(-1, 1, 2) * radius
        size = radius * rng.uniform(0.03, 0.1)
        ground = float(terrain.height(np.array([x]), np.array([y]))[0]) if terrain else 0.0
        tall = size * rng.uniform(0.8, 2.2)
        crowns.append([x, y, max(ground, 0.0) + 0.8 * tall, size, size, tall])
    return tuple(solids), np.array(crowns).reshape(-1, 6)


def _blocks(radius: float, rng: np.random.Generator) -> tuple[tuple[Solid, ...], Array]:
    solids, balls = [], []
    for _ in range(int(rng.integers(8, 22))):
        half = radius * np.exp(rng.uniform(np.log(0.05), np.log(0.28), 3))
        place = np.array([*(rng.uniform(-1, 1, 2) * radius), 0.0])
        style = rng.uniform()
        if style < 0.35:
            place[2] = rng.uniform(0.3, 1.0) * half.max()
            solids.append(_block(place, half, rng))
        elif style < 0.75:
            turn = rng.uniform(0, np.pi)
            solids.append(prism((place[0], place[1]), (half[0], half[1]), turn, 2 * half[2], UNPAINTED))
        else:
            balls.append([*place[:2], half[2] * rng.uniform(0.5, 1.0), *half])
    return tuple(solids), np.array(balls).reshape(-1, 6)


def _materials(
    kind: Kind, radius: float, solids: tuple[Solid, ...], crowns: Array, rng: np.random.Generator
) -> NDArray[np.void]:
    outdoor = kind in ("town", "terrain")
    grounds = (PLAIN, SPOTS, SPOTS, CHECKER) if outdoor else (PLAIN, SPOTS, CHECKER, STRIPES, BRICKS)
    walls = (PLAIN, WINDOWS, WINDOWS, BRICKS, STRIPES) if outdoor else (PLAIN, CHECKER, STRIPES, BRICKS, SPOTS)
    records = [random_material(rng, 0.6 * radius, grounds)]
    for solid in solids:
        size = float(np.ptp(solid.corners, axis=0).mean())
        side, top = random_material(rng, size, walls), random_material(rng, size, (PLAIN, SPOTS, STRIPES))
        records += [top if normal[2] > 0.3 else side for normal in solid.normals]
    for crown in crowns:
        record = list(random_material(rng, 2 * float(crown[3:].mean()), (PLAIN, SPOTS, SPOTS, STRIPES)))
        if outdoor:  # mostly leaves
            record[0] = np.array([0.25, 0.42, 0.18]) * rng.uniform(0.5, 1.7) + 0.08 * random_colour(rng)
            record[1] = 0.6 * np.asarray(record[0])
            record[2] = SPOTS
        records.append(tuple(record))
    if kind == "room":
        wall = random_material(rng, radius, walls)
        records += [wall if rng.uniform() < 0.6 else random_material(rng, radius, walls) for _ in range(4)]
        records.append(random_material(rng, radius, (PLAIN, PLAIN, STRIPES)))
    return np.array(records, dtype=MATERIAL)
