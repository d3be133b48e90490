"""Scenes in a frame and a size of their own, as VGGT is trained on them (Wang et al., CVPR 2025, section 3.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geometry.cameras import relative_pose, world_to_camera


class NormalisedScene(NamedTuple):
    """A scene in the first camera's frame, its valid points at a mean distance of 1 from that camera.

    Attributes:
        extrinsics: (…, V, 3, 4), world → camera; the first view's is the identity.
        cam_points: (…, V, H, W, 3), or None where none were given.
        world_points: (…, V, H, W, 3).
        depths: (…, V, H, W).
        scale: (…,), what lengths were divided by: lengths times it are in the original unit.
    """

    extrinsics: Tensor
    cam_points: Tensor | None
    world_points: Tensor
    depths: Tensor
    scale: Tensor


def normalise_scene(
    extrinsics: Tensor, cam_points: Tensor | None, world_points: Tensor, depths: Tensor, point_masks: Tensor
) -> NormalisedScene:
    """Move a scene into its first camera's frame and divide lengths by the mean distance of its valid points.

    The scale is Σ distance / (count + 0.001) over the valid points of all views, kept within 1e-6…1e6; 1 where
    no point is valid. Points outside the masks are moved along, and may be anything, NaN too.

    Args:
        extrinsics: (…, V, 3, 4), world → camera.
        cam_points: (…, V, H, W, 3), each pixel's point in its camera, or None.
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
    of_pixels = scale[..., None, None, None]
    of_points = of_pixels[..., None]
    moved = relative_pose(first, extrinsics)
    return NormalisedScene(
        torch.cat([moved[..., :3], moved[..., 3:] / of_points[..., 0]], dim=-1),
        None if cam_points is None else cam_points / of_points,
        world_points / of_points,
        depths / of_pixels,
        scale,
    )
