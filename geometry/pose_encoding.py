"""Pose encoding of VGGT: a camera as nine numbers (Wang et al., CVPR 2025, section 3).

Translation (3) and unit quaternion x y z w (4) of the extrinsics, world → camera, then the vertical and the
horizontal field of view in radians (2). The principal point is not encoded; it is assumed to be the image centre.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geometry.rotations import matrix_to_quaternion, quaternion_to_matrix

# Predicted fields of view, in radians, are clamped to this range, as no camera exceeds it.
_MIN_FIELD = 1e-3
_MAX_FIELD = math.pi - 1e-3


def encode_pose(extrinsics: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Encode cameras as (…, 9).

    Args:
        extrinsics: (…, 3, 4), world → camera.
        intrinsics: (…, 3, 3) in pixels; only the two focal lengths are used.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    vertical = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    horizontal = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = matrix_to_quaternion(extrinsics[..., :3])
    return torch.cat([extrinsics[..., 3], quaternion, torch.stack([vertical, horizontal], dim=-1)], dim=-1)


def decode_pose(encoding: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Decode cameras: extrinsics (…, 3, 4), world → camera, and intrinsics (…, 3, 3) in pixels.

    Args:
        encoding: (…, 9); the quaternion may have any length. Fields of view are kept 0.001 rad away from
            0 and π, where the focal length would be infinite or zero.
        height: Height of the image in pixels; the principal point is (width / 2, height / 2).
        width: Width of the image in pixels.
    """
    extrinsics = torch.cat([quaternion_to_matrix(encoding[..., 3:7]), encoding[..., :3, None]], dim=-1)
    field = encoding[..., 7:].clamp(_MIN_FIELD, _MAX_FIELD)
    fy, fx = (size / 2 / torch.tan(field[..., i] / 2) for i, size in enumerate((height, width)))
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    entries = (fx, zero, one * (width / 2), zero, fy, one * (height / 2), zero, zero, one)
    return extrinsics, torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
