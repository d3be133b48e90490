"""Rendering of general scenes: ray casting, procedural materials, sunlight with shadows and haze."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from formats.ade20k import SKY, WALL
from simulators.city.rendering import GAMMA, Rendering, points_of, shadowed
from simulators.city.solids import Array
from simulators.city.tracing import GROUND, NO_SURFACE, Camera, Hits, trace
from simulators.scenes.layout import Scene, Terrain
from simulators.scenes.materials import colours

REACH = 6.0  # radii of the scene beyond which the ground is lost in haze and counts as sky
MARCH_STEPS = 24
BISECTIONS = 5


def trace_scene(scene: Scene, camera: Camera, width: int, height: int, supersampling: int = 1) -> Hits:
    """Find what every ray of a camera hits first, as `simulators.city.tracing.trace`, with terrain and walls."""
    hits = trace(scene, camera, width, height, supersampling)
    inverse, surface = hits.inverse_depth, hits.surface
    if scene.terrain is not None:
        other = np.where(surface == GROUND, 0.0, inverse)
        ground = _terrain_inverse_depth(scene.terrain, camera, hits.directions(), REACH * scene.radius)
        nearer = ground > other
        surface = np.where(nearer, GROUND, np.where(other > 0, surface, NO_SURFACE)).astype(np.int32)
        inverse = np.where(nearer, ground, other)
    if scene.room is not None:
        first = 1 + sum(len(solid.offsets) for solid in scene.solids) + len(scene.crowns)
        rays, position = hits.directions(), camera.position
        planes = [(axis, sign, scene.room[axis]) for axis in (0, 1) for sign in (1.0, -1.0)]
        for number, (axis, sign, limit) in enumerate([*planes, (2, 1.0, scene.room[2])]):
            wall = sign * rays[..., axis] / (limit - sign * position[axis])
            nearer = wall > inverse
            inverse, surface = np.where(nearer, wall, inverse), np.where(nearer, first + number, surface)
    else:
        lost = (surface == GROUND) & (inverse < 1 / (REACH * scene.radius))
        inverse, surface = np.where(lost, 0.0, inverse), np.where(lost, NO_SURFACE, surface)
    return replace(hits, inverse_depth=inverse, surface=surface.astype(np.int32))


def render_scene(scene: Scene, camera: Camera, width: int, height: int, supersampling: int = 2) -> Rendering:
    """Render an image; depth and labels (sky, or wall for everything else) belong to the centres of the pixels.

    Args:
        scene: What is rendered.
        camera: Where from.
        width: In pixels.
        height: In pixels.
        supersampling: Rays along either side of a pixel.
    """
    fine = trace_scene(scene, camera, width, height, supersampling)
    light = _light(scene, camera, fine).reshape(height, supersampling, width, supersampling, 3).mean(axis=(1, 3))
    image = np.round(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)
    centres = fine if supersampling == 1 else trace_scene(scene, camera, width, height)
    seen = centres.inverse_depth > 0
    depth = np.zeros((height, width), np.float32)
    depth[seen] = 1 / centres.inverse_depth[seen]
    return Rendering(image, depth, np.where(seen, WALL, SKY).astype(np.uint8))


def _terrain_inverse_depth(terrain: Terrain, camera: Camera, rays: Array, reach: float) -> Array:
    """March along rays (H, W, 3) to the first crossing of the ground: (H, W) 1 / depth, 0 where there is none."""
    shape, rays = rays.shape[:2], rays.reshape(-1, 3)
    position = camera.position
    result = np.zeros(len(rays))
    top = 3.5 * terrain.amplitude
    # A ray can only meet the ground below the highest point that the noise reaches.
    down = rays[:, 2] < -1e-6
    start = np.where(down & (position[2] > top), (top - position[2]) / np.where(down, rays[:, 2], -1.0), 0.0)
    alive = np.flatnonzero((start < reach) & (down | (position[2] < top)))
    low = np.maximum(start[alive], 1e-3 * reach)
    growth = (reach / low) ** (1 / MARCH_STEPS)
    crossed = np.zeros(len(alive), bool)
    near, far = low.copy(), low.copy()
    open_ = np.arange(len(alive))
    depth = low.copy()
    for _ in range(MARCH_STEPS):
        if not len(open_):
            break
        following = depth[open_] * growth[open_]
        below = _above_ground(terrain, position, rays[alive[open_]], following) < 0
        near[open_[below]], far[open_[below]] = depth[open_[below]], following[below]
        crossed[open_[below]] = True
        depth[open_] = following
        open_ = open_[~below]
    found = np.flatnonzero(crossed)
    near, far, chosen = near[found], far[found], rays[alive[found]]
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        below = _above_ground(terrain, position, chosen, middle) < 0
        near, far = np.where(below, near, middle), np.where(below, middle, far)
    result[alive[found]] = 2 / (near + far)
    return result.reshape(shape)


def _above_ground(terrain: Terrain, position: Array, rays: Array, depth: Array) -> Array:
    x, y, z = position[:, None] + depth * rays.T
    height: Array = z - terrain.height(x, y)
    return height


def _normals(scene: Scene, surface: NDArray[np.int64], points: Array) -> Array:
    """Unit normals (N, 3), outward."""
    faces = [np.array([[0.0, 0.0, 1.0]]), *(solid.normals for solid in scene.solids)]
    num_faces = sum(len(part) for part in faces)
    inward = np.array([[-1.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1]])
    table = np.concatenate([*faces, np.zeros((len(scene.crowns), 3)), inward])
    normals = table[surface]
    crown = surface - num_faces
    round_ = (crown >= 0) & (crown < len(scene.crowns))
    if round_.any():
        shape = scene.crowns[crown[round_]]
        outward = (points[round_] - shape[:, :3]) / shape[:, 3:] ** 2
        normals[round_] = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    if scene.terrain is not None:
        ground = surface == GROUND
        x, y, step = points[ground, 0], points[ground, 1], 0.02 * scene.radius
        height = scene.terrain.height
        slope = np.stack(
            [
                height(x - step, y) - height(x + step, y),
                height(x, y - step) - height(x, y + step),
                np.full(len(x), 2 * step),
            ],
            axis=1,
        )
        normals[ground] = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    return normals


def _coordinates(normals: Array, points: Array) -> tuple[Array, Array]:
    """Coordinates (u, v) on the surfaces: along the horizontal and up on walls, x and y on level faces."""
    level = np.abs(normals[:, 2]) > 0.7
    length = np.maximum(np.hypot(normals[:, 0], normals[:, 1]), 1e-9)
    along = (points[:, 1] * normals[:, 0] - points[:, 0] * normals[:, 1]) / length
    u = np.where(level, points[:, 0], along)
    v = np.where(level, points[:, 1], points[:, 2])
    return u, v


def _light(scene: Scene, camera: Camera, hits: Hits) -> Array:
    """Linear light (H, W, 3) along every ray."""
    seen = hits.inverse_depth > 0
    rays = hits.directions()
    light = np.empty_like(rays)
    up = np.clip(rays[~seen][:, 2] / np.linalg.norm(rays[~seen], axis=1), 0, 1)[:, None] ** 0.5
    light[~seen] = ((1 - up) * scene.sky[0] + up * scene.sky[1]) ** GAMMA
    points, depth = points_of(hits, camera)
    surface = hits.surface[seen].astype(np.int64)
    normals = _normals(scene, surface, points)
    length = np.linalg.norm(rays[seen], axis=1)
    covered = depth * length * (hits.columns[1] - hits.columns[0]) * np.linalg.norm(hits.rays[:, 0])
    num_faces = 1 + sum(len(solid.offsets) for solid in scene.solids)
    crown = (surface >= num_faces) & (surface < num_faces + len(scene.crowns))
    # On ellipsoids an oblique projection, which has no seam.
    u, v = _coordinates(normals, points)
    u = np.where(crown, points[:, 0] + 0.7 * points[:, 2], u)
    v = np.where(crown, points[:, 1] - 0.6 * points[:, 2], v)
    reflectance = np.clip(colours(scene.materials[surface], u, v, covered), 0, 1) ** GAMMA
    facing = np.maximum(normals @ scene.sun, 0)
    lit = facing > 0
    facing[lit] *= ~shadowed(scene, points[lit] + 1e-4 * scene.radius * normals[lit])
    ambient = scene.skylight * (0.75 + 0.25 * normals[:, 2:])
    reflected = reflectance * (scene.sunlight * facing[:, None] + ambient)
    haze = 1 - np.exp(-(depth * length)[:, None] / scene.haze)
    light[seen] = (1 - haze) * reflected + haze * scene.sky[0] ** GAMMA
    return light
