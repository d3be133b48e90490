"""Error metrics of camera poses."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from geometry.cameras import relative_pose
from geometry.rotations import rotation_angle

_THRESHOLDS = (5, 15, 30)  # degrees
_MAX_DEGREES = 30
# A baseline below this share of the first camera's distance from the origin may be rounding and has no direction.
_MIN_BASELINE = 1e-5


class PoseErrors(Metric):
    """Errors of relative poses over all pairs of views of a scene, as in VGGT's evaluation (Wang et al., CVPR 2025).

    A pair's rotation error is the angle between the predicted and the true relative rotation; its translation
    error is the angle between the directions of the relative translations, whose lengths are not compared. All
    pairs of all scenes have the same weight. ``compute`` returns float64 scalars, NaN if nothing was measured:

    - ``rotation_accuracy_5``, ``_15``, ``_30``: share of pairs with an error below that many degrees; 0 … 1.
    - ``translation_accuracy_5``, ``_15``, ``_30``: the same for directions.
    - ``auc_30``: area under the accuracy of max(rotation error, translation error) up to 30°; 0 … 1. As in
      VGGT's evaluation, the mean over k = 1 … 30 of the share of pairs below k degrees (a cumulative
      histogram of 1° bins; exactly 30° falls into the last bin).
    - ``rotation_error``, ``translation_error``: mean errors in degrees, lower is better.
    - ``focal_error``: |f − f_true| / f_true, the mean over fx, fy and views.
    - ``pairs``: number of pairs measured; ``pairs_without_baseline``: number of these without a true direction,
      because both cameras are at the same position. The translation errors ignore them, and ``auc_30`` uses only
      their rotation error.

    A prediction without a direction gets the maximum error if the truth has one. NaN predictions make the mean
    errors NaN, and the shares count them as wrong.

    Args:
        unsigned_translation: Treat opposite directions as equal, as in VGGT's published numbers, so that errors are
            0 … 90°; otherwise they are 0 … 180°.
        sync_on_compute: Whether ``compute`` combines the pairs of all processes, which then must all call it.
    """

    is_differentiable = False
    full_state_update = False

    rotation_below: Tensor
    translation_below: Tensor
    worse_below: Tensor
    rotation_sum: Tensor
    translation_sum: Tensor
    focal_sum: Tensor
    pairs: Tensor
    baselines: Tensor
    focal_lengths: Tensor

    def __init__(self, unsigned_translation: bool = True, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.unsigned_translation = unsigned_translation
        for name in ("rotation", "translation", "worse"):
            self.add_state(f"{name}_below", torch.zeros(_MAX_DEGREES, dtype=torch.long), dist_reduce_fx="sum")
        for name in ("rotation", "translation", "focal"):
            self.add_state(f"{name}_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("pairs", "baselines", "focal_lengths"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self, extrinsics: Tensor, intrinsics: Tensor, true_extrinsics: Tensor, true_intrinsics: Tensor, weights: Tensor
    ) -> None:
        """Add a batch of scenes without synchronising with the device.

        Args:
            extrinsics: (B, V, 3, 4), world → camera, in any world frame and unit.
            intrinsics: (B, V, 3, 3), pixels.
            true_extrinsics: (B, V, 3, 4), in a possibly different world frame and unit.
            true_intrinsics: (B, V, 3, 3), pixels, for the same image size.
            weights: (B,); rows of weight 0 only pad the batch and are ignored.
        """
        real = weights > 0
        self._add_focal_lengths(intrinsics.detach().double(), true_intrinsics.double(), real)
        views = extrinsics.shape[1]
        first, second = torch.triu_indices(views, views, 1, device=extrinsics.device)
        predicted, true = extrinsics.detach().double(), true_extrinsics.double()
        motion, true_motion = (relative_pose(world[:, first], world[:, second]) for world in (predicted, true))
        counted = real[:, None].expand(motion.shape[:2])  # (B, pairs)
        has_baseline = counted & ~_same_position(true[:, first], true_motion)
        rotation = rotation_angle(motion[..., :3], true_motion[..., :3])
        translation = self._direction_error(motion[..., 3], true_motion[..., 3])
        no_direction = _same_position(predicted[:, first], motion)
        translation = torch.where(no_direction, 90.0 if self.unsigned_translation else 180.0, translation)
        worse = torch.where(has_baseline, torch.maximum(rotation, translation), rotation)

        self.rotation_below += _below(rotation, counted)
        self.translation_below += _below(translation, has_baseline)
        self.worse_below += _below(torch.where(worse == _MAX_DEGREES, _MAX_DEGREES - 0.5, worse), counted)
        self.rotation_sum += torch.where(counted, rotation, 0).sum()
        self.translation_sum += torch.where(has_baseline, translation, 0).sum()
        self.pairs += counted.sum()
        self.baselines += has_baseline.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics by name; float64 scalars."""
        values = {}
        for name, total in (("rotation", self.pairs), ("translation", self.baselines)):
            below = getattr(self, f"{name}_below")
            for degrees in _THRESHOLDS:
                values[f"{name}_accuracy_{degrees}"] = below[degrees - 1].double() / total
            values[f"{name}_error"] = getattr(self, f"{name}_sum") / total
        values["auc_30"] = (self.worse_below.double() / self.pairs).mean()
        values["focal_error"] = self.focal_sum / self.focal_lengths
        values["pairs"] = self.pairs.double()
        values["pairs_without_baseline"] = (self.pairs - self.baselines).double()
        return values

    def _add_focal_lengths(self, intrinsics: Tensor, true_intrinsics: Tensor, real: Tensor) -> None:
        focal, true = (torch.diagonal(k, dim1=-2, dim2=-1)[..., :2] for k in (intrinsics, true_intrinsics))
        error = torch.where(real[:, None, None], (focal - true).abs() / true, 0)
        self.focal_sum += error.sum()
        self.focal_lengths += real.sum() * math.prod(error.shape[1:])

    def _direction_error(self, predicted: Tensor, true: Tensor) -> Tensor:
        sine = torch.linalg.vector_norm(torch.linalg.cross(predicted, true, dim=-1), dim=-1)
        cosine = (predicted * true).sum(-1)
        if self.unsigned_translation:
            cosine = cosine.abs()
        return torch.atan2(sine, cosine) * (180 / math.pi)


def _same_position(first: Tensor, motion: Tensor) -> Tensor:
    """Return whether a motion (…, 3, 4) from cameras (…, 3, 4) has no translation beyond rounding."""
    reach = torch.linalg.vector_norm(first[..., 3], dim=-1)
    same: Tensor = torch.linalg.vector_norm(motion[..., 3], dim=-1) <= _MIN_BASELINE * reach
    return same


def _below(errors: Tensor, counted: Tensor) -> Tensor:
    """Count the errors below 1, 2, … 30 degrees."""
    thresholds = torch.arange(1, _MAX_DEGREES + 1, dtype=errors.dtype, device=errors.device)
    return ((errors[..., None] < thresholds) & counted[..., None]).flatten(0, -2).sum(0)
