"""Convex solids of a small city and their appearance.

World axes: x east, y north, z up, in metres; the ground is z = 0. Every solid consists of four walls on the
ground that one or more planes cut off above, so that it needs no underside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, sin
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from formats.ade20k import BUILDING

Array = NDArray[np.float64]
Colour = tuple[float, float, float]  # reflectance of red, green and blue, 0…1, as shown on a screen


class Look(NamedTuple):
    """Appearance of a solid; lengths in metres, shares of a window's cell 0…1."""

    wall: Colour
    roof: Colour
    label: int = BUILDING
    storey: float = 0.0  # height of a floor; 0 for solids without windows
    bay: float = 3.0  # distance between windows, before fitting a whole number into the wall
    pane_width: float = 0.5
    pane_height: float = 0.5
    window_top: float = 0.0  # height up to which there are floors
    shops: bool = False  # whether the ground floor has shop windows
    tiled: bool = False  # whether the roof is pitched and tiled
    variant: int = 0  # varies windows and weathering between equal solids


LOOK = np.dtype(
    [
        ("wall", np.float64, 3), ("roof", np.float64, 3), ("label", np.uint8), ("storey", np.float64),
        ("bay", np.float64), ("pane_width", np.float64), ("pane_height", np.float64),
        ("window_top", np.float64), ("shops", np.bool_), ("tiled", np.bool_), ("variant", np.int64),
    ]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Solid:
    """Convex set of points x with ``normals @ x <= offsets``, above the ground.

    Args:
        normals: (P, 3) outward unit vectors of the four walls, then of the planes above.
        offsets: (P,) distance of every plane from the origin along its normal, in metres.
        corners: (8, 3) corners of a bounding rectangular prism.
        look: Appearance.
    """

    normals: Array
    offsets: Array
    corners: Array
    look: Look

    @property
    def height(self) -> float:
        """Height above the ground in metres."""
        return float(self.corners[:, 2].max())


class SolidScene(Protocol):
    """Solids that rays can meet: a city, or any other scene of convex solids and ellipsoids."""

    @property
    def solids(self) -> tuple[Solid, ...]:
        """Convex solids."""

    @property
    def crowns(self) -> Array:
        """(T, 6) ellipsoids: centre, then half axes along x, y and z."""

    @property
    def sun(self) -> Array:
        """(3,) unit vector towards the sun."""


def prism(centre: tuple[float, float], half: tuple[float, float], angle: float, height: float, look: Look) -> Solid:
    """Build a flat-roofed solid.

    Args:
        centre: Centre of the floor plan.
        half: Half lengths of the floor plan's sides.
        angle: Angle from east to the first side, in radians.
        height: Height of the roof above the ground.
        look: Appearance.
    """
    along, across = np.array([cos(angle), sin(angle), 0.0]), np.array([-sin(angle), cos(angle), 0.0])
    middle = np.array([*centre, 0.0])
    normals = np.array([along, across, -along, -across, [0.0, 0.0, 1.0]])
    offsets = normals @ middle + np.array([*half, *half, height])
    plan = [middle + a * half[0] * along + b * half[1] * across for a in (-1, 1) for b in (-1, 1)]
    corners = np.array([[x, y, z] for x, y, _ in plan for z in (0.0, height)])
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
    """Build a solid with a pitched roof whose ridge runs along the first side.

    Args:
        centre: Centre of the floor plan.
        half: Half lengths of the floor plan's sides.
        angle: Angle from east to the first side, in radians.
        eaves: Height of the walls.
        rise: Height from the eaves to the ridge.
        hip: Whether the short sides slope too.
        look: Appearance.
    """
    box = prism(centre, half, angle, eaves + rise, look)
    # Planes through the eaves and the ridge, half[1] further in; hips have the same slope.
    walls = [1, 3, 0, 2] if hip else [1, 3]
    slopes = box.normals[walls] * rise + np.array([0.0, 0.0, half[1]])
    offsets = box.offsets[walls] * rise + half[1] * eaves
    length = np.hypot(rise, half[1])
    normals = np.concatenate([box.normals[:4], slopes / length])
    return replace(box, normals=normals, offsets=np.concatenate([box.offsets[:4], offsets / length]))
