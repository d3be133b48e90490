"""Pairs of an aerial and a ground camera that see the same place in a simulated city.

Example::

    rng = np.random.default_rng([0, 7])  # seed and scene
    city = draw_city(rng)
    pair = draw_cameras(city, rng)
    aerial, ground = (render(city, camera, 320, 240) for camera in (pair.aerial, pair.ground))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians, sin

import numpy as np

from simulators.city.layout import SIDEWALK_WIDTH, City, draw_city
from simulators.city.rendering import Rendering, points_of, render
from simulators.city.solids import Array
from simulators.city.textures import Bools
from simulators.city.tracing import Camera, Hits, trace

__all__ = ["Camera", "CameraPair", "City", "Rendering", "draw_cameras", "draw_city", "overlap", "render"]

MIN_OVERLAP = 0.4  # of the ground camera's view
MIN_AERIAL_OVERLAP = 0.04  # of the aerial camera's view, which is mostly roofs and other streets
MAX_TRIES = 300  # usually one or two suffice
TRIAL_SIZE = 80, 60  # size in pixels of the images in which overlap is measured
AGREEMENT = 0.02  # relative difference of depths up to which two rays count as hitting the same surface
MIN_SKY = 0.04  # share of the ground camera's image
MIN_DEPTH = 2.5  # metres from the ground camera to anything


@dataclass(frozen=True, eq=False)
class CameraPair:
    """Two cameras that see the same place.

    Args:
        aerial: Camera 100…250 m above the ground, looking obliquely down.
        ground: Camera 1.6…20 m above the ground, looking along a street.
        overlap: Share 0…1 of the ground camera's view, except sky, that the aerial camera sees too.
    """

    aerial: Camera
    ground: Camera
    overlap: float


def draw_cameras(city: City, rng: np.random.Generator) -> CameraPair:
    """Draw cameras at random until each sees enough of what the other sees: ``MIN_OVERLAP``, ``MIN_AERIAL_OVERLAP``.

    Raises:
        RuntimeError: No pair out of ``MAX_TRIES`` had enough overlap, as in a city without an open street.
    """
    for _ in range(MAX_TRIES):
        ground, heading = _ground_camera(city, rng)
        aerial = _aerial_camera(ground, heading, rng)
        below = trace(city, ground, *TRIAL_SIZE)
        hit = below.inverse_depth > 0
        if not MIN_SKY < 1 - hit.mean() < 0.7 or below.inverse_depth.max() > 1 / MIN_DEPTH:
            continue
        above = trace(city, aerial, *TRIAL_SIZE)
        shared, aerial_share = overlap(below, ground, above, aerial), overlap(above, aerial, below, ground)
        if shared >= MIN_OVERLAP and aerial_share >= MIN_AERIAL_OVERLAP:
            return CameraPair(aerial, ground, shared)
    raise RuntimeError(f"none of {MAX_TRIES} pairs of cameras had enough overlap")


def overlap(hits: Hits, camera: Camera, other_hits: Hits, other: Camera) -> float:
    """Measure the share of one camera's view that another camera sees too.

    A point counts if it projects into the other image and the depth there agrees with its own.

    Args:
        hits: Intersections of the rays of ``camera``, at any resolution.
        camera: Camera whose points are counted.
        other_hits: Intersections of the rays through the other camera's pixel centres.
        other: Camera that may or may not see the points.

    Returns:
        Share 0…1 of the rays of ``camera`` that hit a surface.
    """
    points, _ = points_of(hits, camera)
    return float(visible(points, other_hits, other).mean()) if len(points) else 0.0


def visible(points: Array, hits: Hits, camera: Camera) -> Bools:
    """Return whether ``camera`` sees points (N, 3), by the depth of the rays through its pixel centres."""
    height, width = hits.inverse_depth.shape
    places = (points - camera.position) @ camera.cam2world[:3, :3]
    ahead = places[:, 2] > MIN_DEPTH
    pixels = places @ camera.intrinsics(width, height).T / np.where(ahead, places[:, 2], 1.0)[:, None]
    u, v = pixels[:, 0], pixels[:, 1]
    inside = ahead & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    u, v = u[inside], v[inside]
    # Inverse depth is linear on a plane, so interpolating it is exact within a face.
    left, upper = np.minimum(u.astype(int), width - 2), np.minimum(v.astype(int), height - 2)
    p, q, grid = u - left, v - upper, hits.inverse_depth
    above = (1 - p) * grid[upper, left] + p * grid[upper, left + 1]
    below = (1 - p) * grid[upper + 1, left] + p * grid[upper + 1, left + 1]
    ratio = ((1 - q) * above + q * below) * places[inside, 2]
    result = np.zeros(len(points), bool)
    result[inside] = np.abs(ratio - 1) < AGREEMENT
    return result


def _ground_camera(city: City, rng: np.random.Generator) -> tuple[Camera, float]:
    """Draw a camera above a road of the inner city, and return the direction of its street in degrees too."""
    northward = bool(rng.uniform() < 0.5)
    streets = city.streets_x if northward else city.streets_y
    start, end = streets[int(rng.integers(1, len(streets) - 1))]
    side = rng.uniform(-1, 1) * max(0.5, (end - start) / 2 - SIDEWALK_WIDTH - 3.0)  # clear of parked cars
    across, along = (start + end) / 2 + side, rng.uniform(-110.0, 110.0)
    height = float(np.exp(rng.uniform(np.log(1.6), np.log(20.0))))
    position = np.array([across, along, height] if northward else [along, across, height])
    street = 90.0 * northward + 180.0 * float(rng.uniform() < 0.5)
    pitch = rng.uniform(-2.0, 7.0) - 0.7 * height
    heading = street + rng.uniform(-18.0, 18.0)
    camera = Camera.look(position, heading, pitch, rng.uniform(-2.0, 2.0), rng.uniform(58.0, 78.0))
    return _shifted(camera, rng), street


def _aerial_camera(ground: Camera, heading: float, rng: np.random.Generator) -> Camera:
    """Draw a camera behind the ground camera, since only from there the same walls are visible."""
    h = radians(heading)
    target = ground.position + rng.uniform(25.0, 70.0) * np.array([cos(h), sin(h), 0.0])
    pitch, height = rng.uniform(16.0, 58.0), float(np.exp(rng.uniform(np.log(100.0), np.log(250.0))))
    heading, distance = heading + rng.uniform(-50.0, 50.0), min(height / sin(radians(pitch)), 340.0)
    pitch = float(np.degrees(np.arcsin(height / distance)))
    h, p = radians(heading), radians(pitch)
    forward = np.array([cos(h) * cos(p), sin(h) * cos(p), -sin(p)])
    position = np.array([*target[:2], 0.0]) - distance * forward
    extent = rng.uniform(95.0, 230.0)  # metres across the image at the target
    field_of_view = float(np.clip(np.degrees(2 * np.arctan(extent / 2 / distance)), 26.0, 68.0))
    pitch -= rng.uniform(0.0, 9.0)  # moves the shared view to the lower half, and sometimes shows the sky
    return _shifted(Camera.look(position, heading, -pitch, rng.uniform(-4.0, 4.0), field_of_view), rng)


def _shifted(camera: Camera, rng: np.random.Generator) -> Camera:
    across, down = rng.uniform(-0.02, 0.02, 2)
    return replace(camera, shift=(float(across), float(down)))
