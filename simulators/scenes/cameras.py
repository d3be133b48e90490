"""Pairs of cameras that see the same part of a general scene.

Example::

    rng = np.random.default_rng([0, 7])  # seed and scene
    scene = draw_scene(rng)
    pair = draw_cameras(scene, rng)
    first, second = (render_scene(scene, camera, 112, 84) for camera in (pair.first, pair.second))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians, sin

import numpy as np

from simulators.city.cameras import overlap
from simulators.city.solids import Array
from simulators.city.tracing import Camera
from simulators.scenes.layout import Scene, draw_scene
from simulators.scenes.rendering import render_scene, trace_scene

__all__ = ["CameraPair", "Scene", "draw_cameras", "draw_scene", "render_scene"]

MIN_OVERLAP = 0.3  # share of what either camera sees
MAX_TRIES = 60
TRIAL_SIZE = 32, 24  # pixels of the images in which overlap is measured
MIN_DEPTH = 0.12  # of the scene's radius, from a camera to anything
MAX_TURN = 60.0  # degrees between the two headings
MIN_SEEN = 0.45  # share of an image that is not sky


@dataclass(frozen=True, eq=False)
class CameraPair:
    """Two cameras that see the same place.

    Args:
        first: Looks down from higher up, like an aerial image.
        second: From lower, nearer to the ground.
        overlap: Share 0…1 of what the second camera sees, sky excluded, that the first sees too.
    """

    first: Camera
    second: Camera
    overlap: float


def draw_cameras(scene: Scene, rng: np.random.Generator) -> CameraPair:
    """Draw two cameras until each sees at least ``MIN_OVERLAP`` of what the other sees.

    Headings differ by up to ``MAX_TURN``, elevations by up to 50°, distances by a factor of up to 2.7.

    Raises:
        RuntimeError: None of ``MAX_TRIES`` pairs was accepted.
    """
    for _ in range(MAX_TRIES):
        heading = rng.uniform(0, 360.0)
        turn = rng.uniform(-MAX_TURN, MAX_TURN)
        target = np.array([*(rng.uniform(-0.35, 0.35, 2) * scene.radius), 0.0])
        first = _camera(scene, target, heading, (15.0, 55.0), rng)
        second = _camera(scene, target, heading + turn, (4.0, 30.0), rng)
        if first is None or second is None:
            continue
        hits = [trace_scene(scene, camera, *TRIAL_SIZE) for camera in (first, second)]
        if any(
            (hit.inverse_depth > 0).mean() < MIN_SEEN or hit.inverse_depth.max() > 1 / (MIN_DEPTH * scene.radius)
            for hit in hits
        ):
            continue
        shared = overlap(hits[1], second, hits[0], first)
        if min(shared, overlap(hits[0], first, hits[1], second)) >= MIN_OVERLAP:
            return CameraPair(first, second, shared)
    raise RuntimeError(f"none of {MAX_TRIES} pairs of cameras saw enough of the same place")


def _camera(
    scene: Scene, target: Array, heading: float, elevations: tuple[float, float], rng: np.random.Generator
) -> Camera | None:
    """Draw a camera that looks at ``target``, or None where it would be outside the room or below ground."""
    elevation = rng.uniform(*elevations)
    distance = scene.radius * float(np.exp(rng.uniform(np.log(0.7), np.log(1.9))))
    if scene.room is not None:
        distance = min(distance, 0.9 * scene.room[2] / sin(radians(elevation)))
    target = target + np.array([*(rng.uniform(-0.15, 0.15, 2) * scene.radius), rng.uniform(0.0, 0.15) * scene.radius])
    if scene.terrain is not None:
        target[2] += float(scene.terrain.height(target[:1], target[1:2])[0])
    h, p = radians(heading), radians(elevation)
    position = target - distance * np.array([cos(h) * cos(p), sin(h) * cos(p), -sin(p)])
    if scene.room is not None and (
        (np.abs(position[:2]) > 0.95 * scene.room[:2]).any() or position[2] > 0.95 * scene.room[2]
    ):
        return None
    ground = float(scene.terrain.height(position[:1], position[1:2])[0]) if scene.terrain is not None else 0.0
    if position[2] < ground + 0.04 * scene.radius:
        return None
    camera = Camera.look(
        position, heading + rng.uniform(-6, 6), -elevation + rng.uniform(-6, 6), rng.uniform(-4, 4), rng.uniform(50, 80)
    )
    across, down = rng.uniform(-0.01, 0.01, 2)
    return replace(camera, shift=(float(across), float(down)))
