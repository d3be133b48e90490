"""Camera loss of VGGT over the iterations of its camera head (Wang et al., CVPR 2025)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from losses.processes import Processes

CameraDistance = Literal["l1", "l2"]

_LARGEST_TRANSLATION_ERROR = 100.0
_FIELD_OF_VIEW_WEIGHT = 0.5  # next to translation and rotation, whose weights are 1


class CameraTerms(NamedTuple):
    """Scalars: errors of translation, quaternion and field of view, and the number of non-finite values."""

    translation: Tensor
    rotation: Tensor
    field_of_view: Tensor
    nonfinite: Tensor

    def total(self) -> Tensor:
        """Return the weighted sum of the three parts."""
        return self.translation + self.rotation + _FIELD_OF_VIEW_WEIGHT * self.field_of_view


def camera_loss(
    encodings: Tensor,
    targets: Tensor,
    counted: Tensor,
    distance: CameraDistance = "l1",
    decay: float = 0.6,
    processes: Processes = Processes(),
) -> CameraTerms:
    """Return the error of every iteration, weighted by decay^(K − 1 − k) and averaged over the K iterations.

    The error of an iteration is a mean over the counted samples; without any it is 0, and so is its gradient.
    Translation errors are clamped to 100. Errors that are NaN or infinite become 0.

    Args:
        encodings: (K, B, V, 9), prediction of each iteration; see `geometry.pose_encoding`.
        targets: (B, V, 9).
        counted: (B,) bool, samples to include.
        distance: "l1", absolute differences, or "l2", the lengths of the three parts' differences.
        decay: Factor between the weights of successive iterations.
        processes: Processes over which the mean is taken.
    """
    parts = (encodings - targets).split((3, 4, 2), dim=-1)
    stages = torch.arange(len(encodings) - 1, -1, -1, dtype=encodings.dtype, device=encodings.device)
    weights = decay**stages / len(encodings)
    terms, nonfinite = [], []
    for part, limit in zip(parts, (_LARGEST_TRANSLATION_ERROR, None, None), strict=True):
        values, faults = _distances(part, counted, distance)
        values = values if limit is None else values.clamp(max=limit)
        per_sample = values.flatten(2).mean(2)  # (K, B)
        terms.append(processes.mean((weights * per_sample.sum(1)).sum(), counted.sum()))
        nonfinite.append(faults)
    translation, rotation, field_of_view = terms
    return CameraTerms(translation, rotation, field_of_view, processes.sum(torch.stack(nonfinite).sum()))


def _distances(difference: Tensor, counted: Tensor, distance: CameraDistance) -> tuple[Tensor, Tensor]:
    counted = counted[:, None, None]
    finite = difference.isfinite()
    if distance == "l2":
        finite = finite.all(-1, keepdim=True)
    # Replaced before the distance is computed, as its gradient would be 0 · NaN otherwise.
    difference = torch.where(counted & finite, difference, 0)
    values = difference.abs() if distance == "l1" else torch.linalg.vector_norm(difference, dim=-1)
    return values, (counted & ~finite).sum()
