"""Pairs of images with depth and cameras of general scenes, numbered, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.scenes.cameras import draw_cameras
from simulators.scenes.layout import KINDS, draw_scene
from simulators.scenes.rendering import render_scene

TRAIN, VALIDATION, TEST = range(3)  # splits: scenes of one split never occur in another


@dataclass(frozen=True, eq=False)
class ScenePair:
    """Two views of one scene.

    Args:
        images: (2, H, W, 3) uint8 RGB.
        depths: (2, H, W) float32 metres along the optical axis; 0 is sky.
        intrinsics: (2, 3, 3) pixels.
        cam2world: (2, 4, 4) OpenCV axes, metres.
        overlap: Share 0…1 of what the second camera sees that the first sees too.
    """

    images: NDArray[np.uint8]
    depths: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    cam2world: NDArray[np.float64]
    overlap: float


def scene_pair(
    seed: int, split: int, number: int, width: int = 112, height: int = 84, supersampling: int = 1
) -> ScenePair:
    """Draw scene ``number`` of a split with two cameras and render it; kinds of scenes take turns.

    Args:
        seed: 0 or more.
        split: ``TRAIN``, ``VALIDATION`` or ``TEST``.
        number: 0 or more; equal numbers give equal pairs.
        width: In pixels.
        height: In pixels.
        supersampling: Rays along either side of a pixel.
    """
    rng = np.random.default_rng([seed, split, number])
    while True:
        scene = draw_scene(rng, KINDS[number % len(KINDS)])
        try:
            pair = draw_cameras(scene, rng)
            break
        except RuntimeError:  # a scene in which everything is hidden: draw another one
            continue
    cameras = (pair.first, pair.second)
    views = [render_scene(scene, camera, width, height, supersampling) for camera in cameras]
    return ScenePair(
        images=np.stack([view.image for view in views]),
        depths=np.stack([view.depth for view in views]),
        intrinsics=np.stack([camera.intrinsics(width, height) for camera in cameras]),
        cam2world=np.stack([camera.cam2world for camera in cameras]),
        overlap=pair.overlap,
    )
