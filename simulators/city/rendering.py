"""Rendering of images, depth and labels of a city: sunlight with shadows, skylight and distant haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formats.ade20k import SKY, TREE
from simulators.city.layout import City
from simulators.city.solids import Array, SolidScene
from simulators.city.textures import (
    GROUND_LABELS,
    Bools,
    Faces,
    Ints,
    crown_colours,
    face_colours,
    fractal,
    ground_colours,
    ground_part,
)
from simulators.city.tracing import FAR, GROUND, NO_SURFACE, Camera, Hits, trace

SUPERSAMPLING = 2  # rays along each side of a pixel
GAMMA = 2.2
SUN, SKYLIGHT = np.array([1.22, 1.14, 0.98]), np.array([0.40, 0.45, 0.54])
HORIZON, ZENITH, CLOUD = np.array([0.78, 0.86, 0.93]), np.array([0.30, 0.52, 0.83]), np.array([0.97, 0.97, 0.98])
HAZE_BEGINS = 500.0  # metres; closer points look the same from every distance


@dataclass(frozen=True, eq=False)
class Rendering:
    """Image of a camera with depth and labels.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 depth along the optical axis in metres at pixel centres; 0 is sky.
        labels: (H, W) uint8 ADE20k classes numbered from 0: 1 building, 2 sky, 4 tree, 6 road, 9 grass,
            11 sidewalk, 20 car.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    labels: NDArray[np.uint8]


def render(city: City, camera: Camera, width: int, height: int) -> Rendering:
    """Render an image of width × height pixels; depth and labels are those of pixel centres."""
    faces = Faces.of(city)
    fine = trace(city, camera, width, height, SUPERSAMPLING)
    light = (
        _colours(city, faces, camera, fine).reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 3).mean(axis=(1, 3))
    )
    image = np.round(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)
    centres = trace(city, camera, width, height)
    hit = centres.inverse_depth > 0
    depth = np.zeros((height, width), np.float32)
    depth[hit] = 1 / centres.inverse_depth[hit]
    return Rendering(image, depth, _labels(city, faces, camera, centres))


def points_of(hits: Hits, camera: Camera) -> tuple[Array, Array]:
    """Return the world points (N, 3) of the rays that hit a surface, row by row, and their depths (N,)."""
    hit = hits.inverse_depth > 0
    depth = 1 / hits.inverse_depth[hit]
    return camera.position + depth[:, None] * hits.directions()[hit], depth


def _labels(city: City, faces: Faces, camera: Camera, hits: Hits) -> NDArray[np.uint8]:
    labels = np.concatenate([[SKY, 0], faces.looks["label"], np.full(len(city.crowns), TREE)]).astype(np.uint8)[
        hits.surface - NO_SURFACE
    ]
    points, _ = points_of(hits, camera)
    ground = hits.surface == GROUND
    x, y, _ = points[ground[hits.inverse_depth > 0]].T
    labels[ground] = GROUND_LABELS[ground_part(city, x, y)]
    return labels


def _colours(city: City, faces: Faces, camera: Camera, hits: Hits) -> Array:
    """Return the linear light (H, W, 3) along every ray."""
    hit = hits.inverse_depth > 0
    rays = hits.directions()
    points, depth = points_of(hits, camera)
    length = np.linalg.norm(rays[hit], axis=1)
    covered = depth * length * (hits.columns[1] - hits.columns[0]) * np.linalg.norm(hits.rays[:, 0])

    surface = hits.surface[hit]
    solid, crown = (surface > GROUND) & (surface <= len(faces.normals)), surface > len(faces.normals)
    ground = surface == GROUND
    colours, normals = np.empty_like(points), np.zeros_like(points)
    colours[ground] = ground_colours(city, points[ground, 0], points[ground, 1], covered[ground])
    normals[ground, 2] = 1
    face = surface[solid].astype(np.int64) - 1
    colours[solid] = face_colours(city, faces, face, points[solid], covered[solid])
    normals[solid] = faces.normals[face]
    tree = surface[crown].astype(np.int64) - 1 - len(faces.normals)
    colours[crown] = crown_colours(city, tree, points[crown], covered[crown])
    outward = (points[crown] - city.crowns[tree, :3]) / city.crowns[tree, 3:] ** 2
    normals[crown] = outward / np.linalg.norm(outward, axis=1, keepdims=True)

    facing = np.maximum(normals @ city.sun, 0)
    lit = facing > 0
    facing[lit] *= ~shadowed(city, points[lit])
    # Horizontal faces receive light from the whole sky, walls from half of it and from the street.
    ambient = SKYLIGHT * (0.72 + 0.28 * normals[:, 2:])
    reflected = np.clip(colours, 0, 1) ** GAMMA * (SUN * facing[:, None] + ambient)
    haze = (np.clip((depth * length - HAZE_BEGINS) / (FAR - HAZE_BEGINS), 0, 1) ** 0.8)[:, None]
    light = np.empty_like(rays)
    light[hit] = (1 - haze) * reflected + haze * HORIZON**GAMMA
    light[~hit] = _sky(city, rays[~hit])
    return light


def _sky(city: City, rays: Array) -> Array:
    """Return the linear light (N, 3) of the sky along rays (N, 3): clouds on a high plane, blue deepening upwards."""
    up = np.maximum(rays[:, 2] / np.linalg.norm(rays, axis=1), 1e-3)
    height = np.clip(up / 0.7, 0, 1)[:, None] ** 0.6
    x, y = rays[:, 0] / (np.abs(rays[:, 2]) + 0.12), rays[:, 1] / (np.abs(rays[:, 2]) + 0.12)
    noise = fractal(city, x, y, (0.25, 0.6, 1.4), np.full(len(x), 1e-3))
    cloud = np.clip(3.0 * noise, 0, 0.85)[:, None] * np.clip(up / 0.1, 0, 1)[:, None]
    clear = (1 - height) * HORIZON + height * ZENITH
    light: Array = ((1 - cloud) * clear + cloud * CLOUD) ** GAMMA
    return light


def shadowed(city: SolidScene, points: Array) -> Bools:
    """Return whether points (N, 3) that face the sun are in shadow."""
    sun = city.sun
    level = np.cross([0.0, 1.0, 0.0], sun)  # any direction perpendicular to the rays
    level /= np.linalg.norm(level)
    screen = np.stack([level, np.cross(sun, level), sun])  # the last axis points towards the sun
    order = np.argsort(points @ level)
    points = points[order]
    across, along, depth = (points @ screen.T).T
    dark = np.zeros(len(points), bool)

    def beneath(box: Array) -> Ints:
        """Return the points in the column of a box along the sun's rays that are not above all of the box."""
        low, high = (box @ screen.T).min(axis=0), (box @ screen.T).max(axis=0)
        first, last = np.searchsorted(across, [low[0], high[0]])
        part = slice(first, last)
        inside = (along[part] > low[1]) & (along[part] < high[1]) & (depth[part] < high[2]) & ~dark[part]
        return np.asarray(first + np.flatnonzero(inside))

    for solid in city.solids:
        chosen = beneath(solid.corners)
        if len(chosen):
            gaps = solid.offsets - points[chosen] @ solid.normals.T
            rates = solid.normals @ sun
            rates = np.where(np.abs(rates) < 1e-9, 1e-9, rates)
            enter = (gaps / rates)[:, rates < 0].max(axis=1, initial=0.0)
            leave = (gaps / rates)[:, rates > 0].min(axis=1, initial=np.inf)
            dark[chosen] = (leave > 1e-3) & (enter < leave)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    for crown in city.crowns:
        chosen = beneath(crown[:3] + signs * crown[3:])
        if len(chosen):
            away, turned = (points[chosen] - crown[:3]) / crown[3:], sun / crown[3:]
            middle = away @ turned
            root = middle**2 - (turned @ turned) * ((away**2).sum(axis=1) - 1)
            dark[chosen] = (root > 0) & (np.sqrt(np.maximum(root, 0)) - middle > 1e-3)
    result = np.empty_like(dark)
    result[order] = dark
    return result
