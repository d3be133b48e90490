"""Which surface of a city every ray of a camera meets first, exactly.

In inverse depth, 1 / z, a plane n·x = d is linear in the pixel's column u and row v: with the camera at o and
rays r = R K⁻¹ (u, v, 1)ᵀ, whose length along the optical axis is 1, it lies at 1 / z = n·r / (d − n·o). A ray
enters a convex solid at the farthest of the planes it comes through from outside and leaves it at the nearest
of the others, so that a solid costs a few multiplications and additions per pixel of its own rectangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

from simulators.city.solids import Array, SolidScene

NO_SURFACE, GROUND = -1, 0  # faces of solids count from 1, then come the crowns
FAR = 2000.0  # metres of depth beyond which the ground is lost in haze and counts as sky
NEAR = 0.1  # metres; a solid reaching nearer has no rectangle of its own in the picture


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera at some place, for any size of picture.

    Args:
        cam2world: (4, 4) rigid motion from camera to world, OpenCV axes: x right, y down, z forward.
        field_of_view: Horizontal, in degrees, for a principal point at the centre.
        shift: Principal point's offset from the centre as shares of the picture's width and height.
    """

    cam2world: Array
    field_of_view: float
    shift: tuple[float, float] = (0.0, 0.0)

    @staticmethod
    def look(position: Array, heading: float, pitch: float, roll: float, field_of_view: float) -> Camera:
        """Place a camera.

        Args:
            position: (3,) in the world.
            heading: From east towards north, in degrees.
            pitch: Of the optical axis above the horizon, in degrees.
            roll: About the optical axis, clockwise as the camera sees it, in degrees.
            field_of_view: Horizontal, in degrees.
        """
        h, p, r = radians(heading), radians(pitch), radians(roll)
        forward = np.array([cos(h) * cos(p), sin(h) * cos(p), sin(p)])
        level = np.array([sin(h), -cos(h), 0.0])
        down = np.cross(forward, level)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([cos(r) * level + sin(r) * down, cos(r) * down - sin(r) * level, forward], axis=1)
        pose[:3, 3] = position
        return Camera(pose, field_of_view)

    @property
    def position(self) -> Array:
        """(3,) in the world."""
        return self.cam2world[:3, 3]

    def intrinsics(self, width: int, height: int) -> Array:
        """(3, 3) in pixels of a picture of this size, the centre of the first pixel at (0, 0)."""
        focal = width / 2 / tan(radians(self.field_of_view) / 2)
        cx, cy = (width - 1) / 2 + self.shift[0] * width, (height - 1) / 2 + self.shift[1] * height
        return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Hits:
    """What the rays through a grid of pixels meet.

    Args:
        inverse_depth: (H, W) 1 / z in 1/m, z along the optical axis; 0 where there is nothing.
        surface: (H, W) ``NO_SURFACE``, ``GROUND``, 1 + the face's number over all solids, or, after all faces,
            the crown's.
        rays: (3, 3) that turns (u, v, 1) into a ray in the world of length 1 along the optical axis.
        columns: (W,) u of every ray.
        rows: (H,) v of every ray.
    """

    inverse_depth: Array
    surface: NDArray[np.int32]
    rays: Array
    columns: Array
    rows: Array

    def directions(self) -> Array:
        """Rays in the world, (H, W, 3), of length 1 along the optical axis."""
        across = self.columns[:, None] * self.rays[:, 0] + self.rays[:, 2]
        return across[None] + (self.rows[:, None] * self.rays[:, 1])[:, None]


def trace(city: SolidScene, camera: Camera, width: int, height: int, supersampling: int = 1) -> Hits:
    """Meet the city with ``supersampling``² rays per pixel of a picture, evenly spread; 1 goes through its centre."""
    columns = (np.arange(width * supersampling) + 0.5) / supersampling - 0.5
    rows = (np.arange(height * supersampling) + 0.5) / supersampling - 0.5
    intrinsics = camera.intrinsics(width, height)
    rays = camera.cam2world[:3, :3] @ np.linalg.inv(intrinsics)
    inverse = _linear(-rays[2] / camera.position[2], columns, rows)
    surface = np.where(inverse > 1 / FAR, GROUND, NO_SURFACE).astype(np.int32)
    inverse = np.where(inverse > 1 / FAR, inverse, 0.0)

    first = 1
    boxes = np.array([solid.corners for solid in city.solids]).reshape(-1, 8, 3)
    for solid, part in zip(city.solids, _rectangles(boxes, camera, intrinsics, columns, rows), strict=True):
        if part is not None:
            gaps = solid.offsets - solid.normals @ camera.position
            planes = solid.normals @ rays / np.where(np.abs(gaps) < 1e-9, 1e-9, gaps)[:, None]
            _meet_solid(planes, gaps < 0, first, inverse[part], surface[part], columns[part[1]], rows[part[0]])
        first += len(solid.offsets)

    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    boxes = city.crowns[:, None, :3] + signs * city.crowns[:, None, 3:]
    for crown, part in zip(city.crowns, _rectangles(boxes, camera, intrinsics, columns, rows), strict=True):
        if part is not None:
            away, turned = (camera.position - crown[:3]) / crown[3:], rays / crown[3:, None]
            _meet_crown(away, turned, first, inverse[part], surface[part], columns[part[1]], rows[part[0]])
        first += 1
    return Hits(inverse, surface, rays, columns, rows)


def _linear(plane: Array, columns: Array, rows: Array) -> Array:
    return (plane[0] * columns + plane[2])[None, :] + (plane[1] * rows)[:, None]


def _meet_solid(
    planes: Array,
    outside: NDArray[np.bool_],
    first: int,
    inverse: Array,
    surface: NDArray[np.int32],
    columns: Array,
    rows: Array,
) -> None:
    """Update ``inverse`` and ``surface``, views of the picture's part, where the solid is nearer."""
    faces = np.flatnonzero(outside)
    if not len(faces):
        return
    entry, face = _linear(planes[faces[0]], columns, rows), np.full(inverse.shape, first + faces[0], np.int32)
    for number in faces[1:]:
        other = _linear(planes[number], columns, rows)
        face[other < entry] = first + number
        np.minimum(entry, other, out=entry)
    leaving = inverse  # what is behind what is there already need not be entered
    for number in np.flatnonzero(~outside):
        leaving = np.maximum(leaving, _linear(planes[number], columns, rows))
    met = entry > leaving
    inverse[met] = entry[met]
    surface[met] = face[met]


def _meet_crown(
    away: Array, turned: Array, number: int, inverse: Array, surface: NDArray[np.int32], columns: Array, rows: Array
) -> None:
    """The same for the unit sphere, seen from ``away`` along rays ``turned``: |away · s + ray|² = s² for s = 1 / z."""
    outside = away @ away - 1
    if outside <= 0:
        return
    along = _linear(away @ turned, columns, rows)
    square = sum(_linear(axis, columns, rows) ** 2 for axis in turned)
    root = along**2 - square * outside
    entry = np.where(root > 0, (-along + np.sqrt(np.maximum(root, 0))) / outside, 0.0)
    met = entry > inverse
    inverse[met] = entry[met]
    surface[met] = number


def _rectangles(
    boxes: Array, camera: Camera, intrinsics: Array, columns: Array, rows: Array
) -> list[tuple[slice, slice] | None]:
    """Rows and columns of the grid that boxes (N, 8, 3) cover at most; None for those out of sight."""
    points = (boxes - camera.position) @ camera.cam2world[:3, :3]
    near = points[..., 2] < NEAR
    pixels = points @ intrinsics.T / np.where(near, NEAR, points[..., 2])[..., None]
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    low[near.any(axis=1)], high[near.any(axis=1)] = -np.inf, np.inf
    left, right = np.searchsorted(columns, low[:, 0]), np.searchsorted(columns, high[:, 0])
    upper, lower = np.searchsorted(rows, low[:, 1]), np.searchsorted(rows, high[:, 1])
    hidden = near.all(axis=1) | (left >= right) | (upper >= lower)
    edges = np.stack([upper, lower, left, right], axis=1).tolist()
    return [None if out else (slice(a, b), slice(c, d)) for out, (a, b, c, d) in zip(hidden, edges, strict=True)]
