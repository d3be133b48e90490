"""Rotations: matrices (…, 3, 3), unit quaternions (…, 4) as x, y, z, w, and the angle between two of them.

Differentiable everywhere, even where textbook formulas divide by zero: half turns, equal rotations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Below this norm the direction of a quaternion is lost in float32; its matrix approaches the identity.
_MIN_QUATERNION_NORM = 1e-6


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """Return the product (…, N, K) of small matrices (…, N, M) and (…, M, K), always in the precision of the inputs.

    Unlike ``@`` it is not affected by autocast or TF32.
    """
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Convert quaternions (…, 4), x y z w, of any length to rotation matrices (…, 3, 3); zero gives the identity."""
    norm = torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)
    x, y, z, w = (quaternion / norm.clamp(min=_MIN_QUATERNION_NORM)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Convert rotation matrices (…, 3, 3) to unit quaternions (…, 4), x y z w with w ≥ 0.

    The entries of a rotation give 4·q·qᵀ without a root or a division (Shepperd 1978). The row of its largest
    diagonal entry has a length of at least 2, so that dividing by it is safe for every rotation. At half turns,
    w = 0, both signs are correct, and which one is returned is undefined.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    xw, yw, zw = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    diagonal = (
        1 + m[0][0] - m[1][1] - m[2][2],
        1 - m[0][0] + m[1][1] - m[2][2],
        1 - m[0][0] - m[1][1] + m[2][2],
        1 + m[0][0] + m[1][1] + m[2][2],
    )
    rows = (
        (diagonal[0], xy, xz, xw),
        (xy, diagonal[1], yz, yw),
        (xz, yz, diagonal[2], zw),
        (xw, yw, zw, diagonal[3]),
    )
    outer = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = torch.stack(diagonal, dim=-1).argmax(-1)[..., None, None].expand(*matrix.shape[:-2], 1, 4)
    row: Tensor = outer.gather(-2, largest)[..., 0, :]
    row = torch.where(row[..., 3:] < 0, -row, row)
    quaternion: Tensor = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return quaternion


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle (…,) in degrees, 0…180, between rotation matrices (…, 3, 3).

    It is computed from sine and cosine, since the arc cosine alone cannot resolve angles below 0.03° in float32; the
    sine is computed from the difference b − a, so that equal matrices give exactly 0. At 0° and 180° the gradient is
    0, like that of a norm at zero.
    """
    skew = matrix_product(a.mT, b - a)
    skew = skew - skew.mT  # = aᵀb − bᵀa = 2 sin(θ) [axis]×
    axis = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    sine = torch.linalg.vector_norm(axis, dim=-1) / 2
    cosine = ((a * b).sum((-2, -1)) - 1) / 2
    return torch.atan2(sine, cosine) * (180 / math.pi)
