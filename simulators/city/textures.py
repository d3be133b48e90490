"""Procedural textures of a city, fixed to the world and independent of the view.

All colours are reflectances as shown on a screen, 0…1. Patterns are functions only of the world point, except that
noise finer than a pixel is left out, as in an image of lower resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formats.ade20k import GRASS, ROAD, SIDEWALK
from simulators.city.layout import NOISE_SIZE, SIDEWALK_WIDTH, City
from simulators.city.solids import LOOK, Array

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LAWN, PAVED, WALK, STREET, FIELD = range(5)  # parts of the ground
GROUND_LABELS = np.array([GRASS, SIDEWALK, SIDEWALK, ROAD, GRASS], np.uint8)
GROUND_COLOURS = np.array(
    [[0.42, 0.52, 0.28], [0.55, 0.53, 0.49], [0.66, 0.64, 0.60], [0.40, 0.40, 0.42], [0.5, 0.5, 0.3]]
)
FIELD_COLOURS = np.array(
    [[0.74, 0.69, 0.45], [0.46, 0.56, 0.30], [0.36, 0.47, 0.27], [0.58, 0.49, 0.38], [0.56, 0.62, 0.36]]
)
PAINT = np.array([0.86, 0.86, 0.84])


@dataclass(frozen=True, eq=False)
class Faces:
    """All faces of a city's solids, in the order of the surface numbers of rays.

    Args:
        normals: (F, 3) outward unit vectors.
        axes: (F, 2, 3) unit vectors in the face: horizontal, and steepest upwards.
        origin: (F, 2) minimum coordinates of the face along its axes.
        size: (F, 2) lengths of the face along its axes.
        looks: (F,) records of the type ``LOOK``.
    """

    normals: Array
    axes: Array
    origin: Array
    size: Array
    looks: NDArray[np.void]

    @staticmethod
    def of(city: City) -> Faces:
        """Collect the faces of all solids."""
        counts = [len(solid.offsets) for solid in city.solids]
        normals = np.concatenate([solid.normals for solid in city.solids])
        flat = normals[:, 2] > 0.999
        # On a flat roof the horizontal axis is the normal of the first wall.
        first_wall = np.repeat(np.array([solid.normals[0] for solid in city.solids]), counts, axis=0)
        level = np.cross([0.0, 0.0, 1.0], np.where(flat[:, None], -first_wall, normals))
        level[flat] = first_wall[flat]
        level /= np.linalg.norm(level, axis=1, keepdims=True)
        axes = np.stack([level, np.cross(normals, level)], axis=1)
        corners = np.repeat(np.array([solid.corners for solid in city.solids]), counts, axis=0)
        spread = np.einsum("fcx,fax->fac", corners, axes)
        looks = np.array([tuple(solid.look) for solid in city.solids], LOOK)
        return Faces(normals, axes, spread.min(axis=2), np.ptp(spread, axis=2), np.repeat(looks, counts))


def fractal(city: City, x: Array, y: Array, wavelengths: tuple[float, ...], covered: Array) -> Array:
    """Return value noise around 0, mostly within ±0.5.

    Args:
        city: City with the random numbers.
        x: (N,) position along one axis in metres.
        y: (N,) position along another axis in metres.
        wavelengths: Distances between the random numbers in metres, one per octave.
        covered: (N,) footprint of a ray in metres; finer octaves fade out.
    """
    total = np.zeros(len(x))
    for octave, wavelength in enumerate(wavelengths):
        a, b = x / wavelength + 37.4 * octave, y / wavelength + 71.8 * octave
        left, below = np.floor(a), np.floor(b)
        p, q = a - left, b - below
        p, q = p * p * (3 - 2 * p), q * q * (3 - 2 * q)
        i, j = left.astype(np.int64), below.astype(np.int64)
        low = (1 - p) * cell(city, i, j) + p * cell(city, i + 1, j)
        high = (1 - p) * cell(city, i, j + 1) + p * cell(city, i + 1, j + 1)
        total += np.clip(wavelength / covered - 0.5, 0, 1) * ((1 - q) * low + q * high - 0.5)
    noise: Array = total * 1.4 / np.sqrt(len(wavelengths))
    return noise


def cell(city: City, i: Ints, j: Ints) -> Array:
    """Return the random numbers 0…1 of the cells (i, j) of a grid."""
    numbers: Array = city.noise[i & (NOISE_SIZE - 1), j & (NOISE_SIZE - 1)]
    return numbers


def _across(streets: Array, place: Array) -> tuple[Array, Array, Ints]:
    """Return distance to the nearer edge of the street (negative off the street), street width, and block number."""
    number = np.searchsorted((streets[:-1, 1] + streets[1:, 0]) / 2, place)
    start, end = streets[number, 0], streets[number, 1]
    block = np.searchsorted(streets[:, 0], place) - 1
    return np.minimum(place - start, end - place), end - start, np.clip(block, 0, len(streets) - 2)


def ground_part(city: City, x: Array, y: Array) -> Ints:
    """Return the part of the ground at (x, y), each (N,): ``LAWN``, ``PAVED``, ``WALK``, ``STREET`` or ``FIELD``."""
    (margin_x, _, column), (margin_y, _, row) = _across(city.streets_x, x), _across(city.streets_y, y)
    part = np.where(city.paved[column, row], PAVED, LAWN)
    part[np.maximum(margin_x, margin_y) > 0] = WALK
    outside = (x < city.streets_x[0, 0]) | (x > city.streets_x[-1, 1])
    outside |= (y < city.streets_y[0, 0]) | (y > city.streets_y[-1, 1])
    part[outside] = FIELD  # crossed by the streets, without sidewalks
    part[np.maximum(margin_x, margin_y) > SIDEWALK_WIDTH] = STREET
    return part


def ground_colours(city: City, x: Array, y: Array, covered: Array) -> Array:
    """Return colours (N, 3) of the ground at (x, y); ``covered`` as for `fractal`."""
    part = ground_part(city, x, y)
    colours = GROUND_COLOURS[part]
    field = part == FIELD
    i, j = np.floor(x / 95 + y / 700).astype(np.int64), np.floor(y / 70).astype(np.int64)
    colours[field] = FIELD_COLOURS[(cell(city, i, j)[field] * len(FIELD_COLOURS)).astype(int)]
    rough = np.array([0.35, 0.25, 0.18, 0.26, 0.30])[part]
    colours *= (1 + rough * fractal(city, x, y, (0.5, 2.0, 7.0, 24.0), covered))[:, None]

    (margin_x, width_x, _), (margin_y, width_y, _) = _across(city.streets_x, x), _across(city.streets_y, y)
    street = part == STREET
    painted = np.zeros(len(x), bool)
    for margin, width, cross, along in ((margin_x, width_x, margin_y, y), (margin_y, width_y, margin_x, x)):
        road = street & (margin > SIDEWALK_WIDTH) & (cross < SIDEWALK_WIDTH)
        centre = width / 2 - margin  # distance from the street's axis
        painted |= road & (cross < -6) & (centre < 0.14) & (along % 6.0 < 3.0)
        painted |= road & (cross > -4.2) & (cross < -3.6)  # stop lines
        painted |= road & (cross > -1) & (cross < 2) & (centre % 1.2 < 0.6)  # zebra crossings
    colours[painted] = PAINT * (0.9 + 0.2 * cell(city, i, j)[painted, None])
    kerb = np.maximum(margin_x, margin_y)
    colours[(part == WALK) & (kerb > SIDEWALK_WIDTH - 0.3)] *= 1.25
    seam = (part == WALK) & ((x % 1.5 < 0.1) | (y % 1.5 < 0.1)) & (covered < 0.3)
    colours[seam] *= 0.8
    return colours


def face_colours(city: City, faces: Faces, face: Ints, points: Array, covered: Array) -> Array:
    """Return colours (N, 3) of points (N, 3) on faces (N,), given by number; ``covered`` as for `fractal`."""
    u, v = np.einsum("nx,nax->an", points, faces.axes[face]) - faces.origin[face].T
    looks, size, wall = faces.looks[face], faces.size[face], faces.normals[face, 2] < 0.01
    colours = np.empty((len(face), 3))
    args = wall, ~wall
    for chosen, paint in zip(args, (_wall_colours, _roof_colours), strict=True):
        colours[chosen] = paint(city, looks[chosen], u[chosen], v[chosen], size[chosen], covered[chosen])
    return colours


def _roof_colours(city: City, looks: NDArray[np.void], u: Array, v: Array, size: Array, covered: Array) -> Array:
    variant = looks["variant"] % 997
    noise = fractal(city, u + variant, v, (0.7, 2.5, 8.0), covered)
    shade = 1 + 0.28 * noise * (looks["storey"] > 0)
    shade *= np.where(looks["tiled"] & (v % 0.45 < 0.12) & (covered < 0.25), 0.75, 1.0)
    edge = np.minimum(np.minimum(u, size[:, 0] - u), np.minimum(v, size[:, 1] - v))
    shade *= np.where((edge < 0.5) & ~looks["tiled"] & (looks["storey"] > 0), 1.3, 1.0)  # the parapet
    return looks["roof"] * shade[:, None]


def _wall_colours(city: City, looks: NDArray[np.void], u: Array, z: Array, size: Array, covered: Array) -> Array:
    """Return weathered plaster with windows in whole storeys and bays; z is the height above the ground."""
    variant, built = looks["variant"] % 997, looks["storey"] > 0
    noise = fractal(city, u + 3 * variant, z, (0.6, 3.0), covered) + fractal(
        city, u + variant, 0.2 * z, (1.5,), covered
    )
    shade = 1 + 0.13 * noise
    shade *= np.where(built, 0.72 + 0.28 * np.clip(z / 5, 0, 1), 1.0)  # the foot of a wall receives less skylight
    colours = looks["wall"] * shade[:, None]

    storey = np.where(built, looks["storey"], 1.0)
    floor = np.floor(z / storey).astype(np.int64)
    bays = np.maximum(1, np.round(size[:, 0] / looks["bay"]))
    place = u / size[:, 0] * bays
    bay = np.floor(place).astype(np.int64)
    level = z / storey - floor
    built &= ((floor + 1) * storey <= looks["window_top"] + 0.05) & (z > 0)
    shop = built & looks["shops"] & (floor == 0)
    sideways = np.abs(place - bay - 0.5) - np.where(shop, 0.44, looks["pane_width"] / 2)
    above = np.abs(level - np.where(shop, 0.38, 0.52)) - np.where(shop, 0.30, looks["pane_height"] / 2)

    chance, other = cell(city, bay + variant, floor + 5 * variant), cell(city, bay + 7 * variant, floor + 31)
    glass = np.array([0.13, 0.19, 0.26]) * (0.55 + 1.1 * chance)[:, None]
    curtain = np.array([0.78, 0.74, 0.66]) * (0.7 + 0.4 * other)[:, None]
    glass = np.where((chance > 0.72)[:, None] & ~shop[:, None], curtain, glass)
    frame = built & (sideways < 0.04) & (above < 0.045)
    colours[frame] = np.clip(1.25 * looks["wall"][frame], 0, 0.92)
    pane = built & (sideways < 0) & (above < 0)
    colours[pane] = glass[pane]
    colours[built & (level < 0.06) & ~shop] *= 0.82  # a ledge under every floor
    sign = shop & (level > 0.74) & (level < 0.97) & (sideways < 0.03)
    hue = 2 * np.pi * (other[:, None] + np.array([0.0, 1 / 3, 2 / 3]))
    colours[sign] = (0.45 + 0.33 * np.cos(hue))[sign]
    return colours


def crown_colours(city: City, crown: Ints, points: Array, covered: Array) -> Array:
    """Return colours (N, 3) of points (N, 3) on crowns (N,), given by number; ``covered`` as for `fractal`."""
    x, y = points[:, 0] + 0.7 * points[:, 2], points[:, 1] - 0.6 * points[:, 2]
    noise = fractal(city, x, y, (0.35, 0.9), covered)
    return city.crown_colours[crown] * (1 + 0.6 * noise)[:, None]
