"""Normalisation of frame and scale of scenes, as in the training of VGGT (Wang et al., CVPR 2025, section 3.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geometry.cameras import relative_pose, world_to_camera


class NormalisedScene(NamedTuple):
    """Scene in the first camera's frame, scaled so that the mean distance of its valid points from that camera is 1.

    Attributes:
        extrinsics: (…, V, 3, 4), world → camera; the first view's is the identity.
        cam_points: (…, V, H, W, 3), or None if not given.
        world_points: (…, V, H, W, 3).
        depths: (…, V, H, W).
        scale: (…,), divisor of all lengths; multiply by it for the original unit.
    """

    extrinsics: Tensor
    cam_points: Tensor | None
    world_points: Tensor
    depths: Tensor
    scale: Tensor


def normalise_scene(
    extrinsics: Tensor, cam_points: Tensor | None, world_points: Tensor, depths: Tensor, point_masks: Tensor
) -> NormalisedScene:
    """Transform a scene to its first camera's frame and divide lengths by the mean distance of its valid points.

    The scale is Σ distance / (count + 0.001) over the valid points of all views, clamped to 1e-6…1e6; 1 if no point
    is valid. Points outside the masks are transformed too, and may be arbitrary, even NaN.

    Args:
        extrinsics: (…, V, 3, 4), world → camera.
        cam_points: (…, V, H, W, 3), each pixel's point in camera coordinates, or None.
        world_points: (…, V, H, W, 3).
        depths: (…, V, H, W).
        point_masks: (…, V, H, W) bool.
    """
    first = extrinsics[..., :1, :, :]
    world_points = world_to_camera(world_points, first)
    distances = torch.linalg.vector_norm(world_points, dim=-1)
    total = torch.where(point_masks, distances, 0).sum((-3, -2, -1))
    count = point_masks.sum((-3, -2, -1))
    scale = torch.where(count > 0, (total / (count + 1e-3)).clamp(1e-6, 1e6), 1.0)
    pixel_scale = scale[..., None, None, None]
    point_scale = pixel_scale[..., None]
    poses = relative_pose(first, extrinsics)
    return NormalisedScene(
        torch.cat([poses[..., :3], poses[..., 3:] / point_scale[..., 0]], dim=-1),
        None if cam_points is None else cam_points / point_scale,
        world_points / point_scale,
        depths / pixel_scale,
        scale,
    )
