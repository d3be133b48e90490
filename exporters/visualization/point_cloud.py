"""Images of point clouds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND = 24
FIELD = 1.35  # focal length over the side of the image


def viewpoint(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Choose a camera that shows the shape of a cloud (N, 3).

    It is to the right of the first camera (the world's origin, OpenCV axes), slightly behind and above it.

    Returns:
        (3, 4), world → camera, OpenCV axes.
    """
    middle = np.median(points, axis=0).astype(np.float64)
    radius = np.percentile(np.linalg.norm(points - middle, axis=1), 90)
    eye = middle + radius * np.array([1.1, -0.9, -1.9])
    forward = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.concatenate([rotation, -(rotation @ eye)[:, None]], axis=1)


def draw_point_cloud(
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    extrinsics: NDArray[np.float64],
    side: int = 480,
    splat: int = 4,
) -> NDArray[np.uint8]:
    """Draw a point cloud with near points over far ones.

    Args:
        points: (N, 3), world.
        colours: (N, 3) uint8.
        extrinsics: (3, 4), world → camera, such as that of :func:`viewpoint`.
        side: Side of the image in pixels.
        splat: Side of a point, in pixels.

    Returns:
        (side, side, 3) uint8.
    """
    in_camera = points @ extrinsics[:, :3].T + extrinsics[:, 3]
    front = in_camera[:, 2] > 1e-6
    in_camera, colours = in_camera[front], colours[front]
    pixels = np.round(FIELD * side * in_camera[:, :2] / in_camera[:, 2:] + side / 2).astype(np.int64)
    order = np.argsort(-in_camera[:, 2], kind="stable")  # far first, so that near ones are painted over them
    image = np.full((side + splat, side + splat, 3), BACKGROUND, np.uint8)
    for row in range(splat):
        for column in range(splat):
            x, y = (pixels[order] + (column, row)).T
            inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
            image[y[inside], x[inside]] = colours[order][inside]
    return image[:side, :side]
