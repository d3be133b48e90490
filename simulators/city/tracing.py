"""Exact first intersections of the rays of a camera with the surfaces of a city.

In inverse depth, 1 / z, a plane n·x = d is linear in the pixel's column u and row v: with the camera at o and
rays r = R K⁻¹ (u, v, 1)ᵀ, whose length along the optical axis is 1, it lies at 1 / z = n·r / (d − n·o). A ray
enters a convex solid at the farthest of the planes that it crosses from outside and leaves it at the nearest
of the others, so a solid costs a few multiplications and additions per pixel of its bounding rectangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

from simulators.city.solids import Array, SolidScene

NO_SURFACE, GROUND = -1, 0  # faces of solids count from 1, then come the crowns
FAR = 2000.0  # metres of depth beyond which the ground disappears in haze and counts as sky
NEAR = 0.1  # metres; solids that reach closer have no bounding rectangle in the image


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole camera, independent of the image size.

    Args:
        cam2world: (4, 4) rigid motion from camera to world, OpenCV axes: x right, y down, z forward.
        field_of_view: Horizontal field of view in degrees, for a principal point at the centre.
        shift: Offset of the principal point from the centre as shares of image width and height.
    """

    cam2world: Array
    field_of_view: float
    shift: tuple[float, float] = (0.0, 0.0)

    @staticmethod
    def look(position: Array, heading: float, pitch: float, roll: float, field_of_view: float) -> Camera:
        """Create a camera from its position and orientation.

        Args:
            position: (3,) in the world.
            heading: Angle from east towards north, in degrees.
            pitch: Angle of the optical axis above the horizon, in degrees.
            roll: Rotation about the optical axis, clockwise as seen by the camera, in degrees.
            field_of_view: Horizontal field of view in degrees.
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
        """Position (3,) in the world."""
        return self.cam2world[:3, 3]

    def intrinsics(self, width: int, height: int) -> Array:
        """Return intrinsics (3, 3) in pixels for an image size; the centre of the first pixel is (0, 0)."""
        focal = width / 2 / tan(radians(self.field_of_view) / 2)
        cx, cy = (width - 1) / 2 + self.shift[0] * width, (height - 1) / 2 + self.shift[1] * height
        return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Hits:
    """First intersections of the rays through a grid of pixels.

    Args:
        inverse_depth: (H, W) 1 / z in 1/m, z along the optical axis; 0 where a ray hits nothing.
        surface: (H, W) ``NO_SURFACE``, ``GROUND``, 1 + the number of the face over all solids, or, after all
            faces, of the crown.
        rays: (3, 3), maps (u, v, 1) to a ray in the world of length 1 along the optical axis.
        columns: (W,) u of every ray.
        rows: (H,) v of every ray.
    """

    inverse_depth: Array
    surface: NDArray[np.int32]
    rays: Array
    columns: Array
    rows: Array

    def directions(self) -> Array:
        """Return rays in the world, (H, W, 3), of length 1 along the optical axis."""
        across = self.columns[:, None] * self.rays[:, 0] + self.rays[:, 2]
        return across[None] + (self.rows[:, None] * self.rays[:, 1])[:, None]


def trace(city: SolidScene, camera: Camera, width: int, height: int, supersampling: int = 1) -> Hits:
    """Trace ``supersampling``² evenly spaced rays per pixel of an image; a single one passes through its centre."""
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
            _intersect_solid(planes, gaps < 0, first, inverse[part], surface[part], columns[part[1]], rows[part[0]])
        first += len(solid.offsets)

    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    boxes = city.crowns[:, None, :3] + signs * city.crowns[:, None, 3:]
    for crown, part in zip(city.crowns, _rectangles(boxes, camera, intrinsics, columns, rows), strict=True):
        if part is not None:
            offset, scaled_rays = (camera.position - crown[:3]) / crown[3:], rays / crown[3:, None]
            _intersect_crown(offset, scaled_rays, first, inverse[part], surface[part], columns[part[1]], rows[part[0]])
        first += 1
    return Hits(inverse, surface, rays, columns, rows)


def _linear(plane: Array, columns: Array, rows: Array) -> Array:
    values: Array = (plane[0] * columns + plane[2])[None, :] + (plane[1] * rows)[:, None]
    return values


def _intersect_solid(
    planes: Array,
    outside: NDArray[np.bool_],
    first: int,
    inverse: Array,
    surface: NDArray[np.int32],
    columns: Array,
    rows: Array,
) -> None:
    """Update ``inverse`` and ``surface``, views of part of the image, where the solid is nearer."""
    faces = np.flatnonzero(outside)
    if not len(faces):
        return
    entry, face = _linear(planes[faces[0]], columns, rows), np.full(inverse.shape, first + faces[0], np.int32)
    for number in faces[1:]:
        other = _linear(planes[number], columns, rows)
        face[other < entry] = first + number
        np.minimum(entry, other, out=entry)
    leaving = inverse  # surfaces behind an earlier one need no update
    for number in np.flatnonzero(~outside):
        leaving = np.maximum(leaving, _linear(planes[number], columns, rows))
    hit = entry > leaving
    inverse[hit] = entry[hit]
    surface[hit] = face[hit]


def _intersect_crown(
    offset: Array,
    scaled_rays: Array,
    number: int,
    inverse: Array,
    surface: NDArray[np.int32],
    columns: Array,
    rows: Array,
) -> None:
    """Do the same for the unit sphere, with |offset · s + ray|² = s² for s = 1 / z."""
    outside = offset @ offset - 1
    if outside <= 0:
        return
    along = _linear(offset @ scaled_rays, columns, rows)
    square = sum(_linear(axis, columns, rows) ** 2 for axis in scaled_rays)
    root = along**2 - square * outside
    entry = np.where(root > 0, (-along + np.sqrt(np.maximum(root, 0))) / outside, 0.0)
    hit = entry > inverse
    inverse[hit] = entry[hit]
    surface[hit] = number


def _rectangles(
    boxes: Array, camera: Camera, intrinsics: Array, columns: Array, rows: Array
) -> list[tuple[slice, slice] | None]:
    """Return bounding rows and columns of boxes (N, 8, 3) in the grid; None for those outside the image."""
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
