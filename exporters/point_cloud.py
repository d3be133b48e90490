"""Coloured point clouds from depth, and writers of PLY and GLB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from formats.atomic import atomic_path
from geometry.arrays import float_array
from geometry.cameras import camera_to_world, unproject

_OPENCV_TO_GLTF = np.array([1, -1, -1], dtype=np.float32)  # y down → y up, z forward → −z forward


def point_cloud(
    images: Tensor | ArrayLike,
    depth: Tensor | ArrayLike,
    confidence: Tensor | ArrayLike | None,
    extrinsics: Tensor | ArrayLike,
    intrinsics: Tensor | ArrayLike,
    confidence_quantile: float = 0.2,
    max_points: int | None = 1_000_000,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Unproject the pixels of V views into the world, except those without depth and the least confident ones.

    Args:
        images: (V, 3, H, W), 0…1.
        depth: (V, H, W), along the optical axis; pixels are used where it is finite and > 0.
        confidence: (V, H, W), or None to use all pixels, as for true depth.
        extrinsics: (V, 3, 4), world → camera.
        intrinsics: (V, 3, 3), pixels.
        confidence_quantile: Share of the pixels with depth, over all views, to leave out; pixels exactly at the
            threshold are kept.
        max_points: Maximum number of points; more are subsampled at random with a fixed seed. None keeps all.

    Returns:
        Points (N, 3) in the world in the unit of the depth, OpenCV axes, ordered by view and row; colours (N, 3).

    Raises:
        ValueError: The shapes do not match, or the quantile is not in 0…1.
    """
    pixels, distances = float_array(images), float_array(depth)
    poses, matrices = float_array(extrinsics), float_array(intrinsics)
    if distances.ndim != 3:
        raise ValueError(f"depth must have shape (V, H, W), not {distances.shape}")
    views, height, width = distances.shape
    expected = {"images": (views, 3, height, width), "extrinsics": (views, 3, 4), "intrinsics": (views, 3, 3)}
    for name, array in (("images", pixels), ("extrinsics", poses), ("intrinsics", matrices)):
        if array.shape != expected[name]:
            raise ValueError(f"{name} must have shape {expected[name]} to match depth, not {array.shape}")
    if not 0 <= confidence_quantile <= 1:
        raise ValueError(f"confidence_quantile must be in 0…1, not {confidence_quantile}")

    kept = np.isfinite(distances) & (distances > 0)
    if confidence is not None:
        kept = _confident(kept, float_array(confidence), confidence_quantile)
    if max_points is not None:
        kept = _subsampled(kept, max_points)

    points = np.empty((np.count_nonzero(kept), 3), dtype=np.float32)
    ends = np.cumsum(kept.sum((1, 2)))
    for view, end in enumerate(ends):  # view by view, since float64 points of all pixels are large
        in_camera = unproject(torch.from_numpy(distances[view]), torch.from_numpy(matrices[view]))
        chosen = in_camera[torch.from_numpy(kept[view])]
        world = camera_to_world(chosen, torch.from_numpy(poses[view]))
        points[end - len(world) : end] = world.numpy()
    colours = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)[kept]
    return points, colours


def write_ply(path: str | Path, points: NDArray[np.float32], colours: NDArray[np.uint8]) -> None:
    """Write a point cloud as binary little-endian PLY, in the axes of the points.

    Args:
        path: The file; missing folders are created.
        points: (N, 3), N ≥ 1.
        colours: (N, 3).

    Raises:
        ValueError: There are no points, or the number of colours differs.
    """
    cloud = _cloud(points, colours)
    with atomic_path(path) as temporary:
        temporary.write_bytes(cloud.export(file_type="ply", encoding="binary_little_endian"))


def write_glb(path: str | Path, points: NDArray[np.float32], colours: NDArray[np.uint8]) -> None:
    """Write a point cloud as GLB, for example for viewers in a browser.

    glTF's axes are x right, y up, −z forward: a point (x, y, z) in OpenCV's is written as (x, −y, −z), so that a
    viewer shows the scene upright and as the first camera saw it.

    Args:
        path: The file; missing folders are created.
        points: (N, 3) in OpenCV axes, N ≥ 1.
        colours: (N, 3).

    Raises:
        ValueError: There are no points, or the number of colours differs.
    """
    cloud = _cloud(points * _OPENCV_TO_GLTF, colours)
    with atomic_path(path) as temporary:
        temporary.write_bytes(trimesh.Scene(cloud).export(file_type="glb"))


def _confident(kept: NDArray[np.bool_], confidence: NDArray[np.float64], quantile: float) -> NDArray[np.bool_]:
    if confidence.shape != kept.shape:
        raise ValueError(f"confidence must have the shape of depth {kept.shape}, not {confidence.shape}")
    kept = kept & np.isfinite(confidence)
    return kept & (confidence >= np.quantile(confidence[kept], quantile)) if kept.any() else kept


def _subsampled(kept: NDArray[np.bool_], max_points: int) -> NDArray[np.bool_]:
    indices = np.flatnonzero(kept)
    if len(indices) <= max_points:
        return kept
    # Random, because taking every n-th pixel would produce stripes.
    subsampled = np.zeros_like(kept)
    subsampled.flat[np.random.default_rng(0).choice(indices, max_points, replace=False)] = True
    return subsampled


def _cloud(points: NDArray[np.float32], colours: NDArray[np.uint8]) -> trimesh.PointCloud:
    if not len(points) or points.shape != colours.shape:
        raise ValueError(f"points {points.shape} and colours {colours.shape} must both be (N, 3) with N ≥ 1")
    return trimesh.PointCloud(points, colors=colours)
