"""Pinhole cameras: conversion between pixels, camera coordinates and world coordinates.

OpenCV axes: x right, y down, z forward. Extrinsics (…, 3, 4) are [R | t] from world to camera, R a rotation;
intrinsics (…, 3, 3) are in pixels. The centre of the first pixel is (0, 0): column u is x, row v is y.
Every function takes any leading dimensions, keeps the dtype, and is differentiable. Products are written out
rather than calling matrix routines, which would round to bfloat16 under autocast and to TF32 on some GPUs: an error
of a metre at a kilometre.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geometry.rotations import matrix_product


def invert_extrinsics(extrinsics: Tensor) -> Tensor:
    """Invert rigid motions (…, 3, 4): world → camera becomes camera → world, and back."""
    rotation = extrinsics[..., :3].mT
    return torch.cat([rotation, -matrix_product(rotation, extrinsics[..., 3:])], dim=-1)


def relative_pose(extrinsics_a: Tensor, extrinsics_b: Tensor) -> Tensor:
    """Return the motion (…, 3, 4) from camera a to camera b, which is b's extrinsics in a's frame.

    Args:
        extrinsics_a: (…, 3, 4), world → camera.
        extrinsics_b: (…, 3, 4), world → camera; leading dimensions broadcast against those of ``extrinsics_a``.
    """
    inverse = invert_extrinsics(extrinsics_a)
    rotation = matrix_product(extrinsics_b[..., :3], inverse[..., :3])
    translation = matrix_product(extrinsics_b[..., :3], inverse[..., 3:]) + extrinsics_b[..., 3:]
    return torch.cat([rotation, translation], dim=-1)


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Unproject every pixel to a point (…, H, W, 3) in camera coordinates, in the unit of the depth.

    Args:
        depth: (…, H, W), along the optical axis.
        intrinsics: (…, 3, 3) in pixels, possibly with skew.
    """
    height, width = depth.shape[-2:]
    v = torch.arange(height, dtype=depth.dtype, device=depth.device)[:, None]
    u = torch.arange(width, dtype=depth.dtype, device=depth.device)
    k = intrinsics[..., None, None]  # entries broadcast over the image
    y = (v - k[..., 1, 2, :, :]) / k[..., 1, 1, :, :]
    x = (u - k[..., 0, 2, :, :] - k[..., 0, 1, :, :] * y) / k[..., 0, 0, :, :]
    return torch.stack([x * depth, y * depth, depth], dim=-1)


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Project points in camera coordinates to pixels (…, 2), column then row; meaningful only where z > 0.

    Args:
        points: (…, 3) with the leading dimensions of ``intrinsics``, then any number of further ones,
            such as (B, H, W, 3) or (B, N, 3) for (B, 3, 3).
        intrinsics: (…, 3, 3) in pixels.
    """
    pixels = _apply(intrinsics, points)
    return pixels[..., :2] / pixels[..., 2:]


def world_to_camera(points: Tensor, extrinsics: Tensor) -> Tensor:
    """Transform points from world to camera coordinates.

    Args:
        points: (…, N, 3) or (…, H, W, 3), with the leading dimensions of ``extrinsics``.
        extrinsics: (…, 3, 4), world → camera.
    """
    return _apply(extrinsics[..., :3], points) + _broadcast(extrinsics[..., 3], points)


def camera_to_world(points: Tensor, extrinsics: Tensor) -> Tensor:
    """Transform points from camera to world coordinates; the inverse of `world_to_camera`, with the same shapes."""
    return world_to_camera(points, invert_extrinsics(extrinsics))


def _apply(matrices: Tensor, points: Tensor) -> Tensor:
    moved = points[..., :1] * _broadcast(matrices[..., 0], points)
    for axis in (1, 2):
        moved = torch.addcmul(moved, points[..., axis : axis + 1], _broadcast(matrices[..., axis], points))
    return moved


def _broadcast(vectors: Tensor, points: Tensor) -> Tensor:
    inner = points.ndim - vectors.ndim  # dimensions that points have and cameras do not
    return vectors[(..., *[None] * inner, slice(None))]
