"""Training objective of VGGT on views of a scene: cameras, depth and, if predicted, points.

Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025. The objective can become negative, since the
reward for confidence is unbounded, so monitor metrics too.
"""

from __future__ import annotations

import math
from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor, nn

from batches.pair import PairBatch
from geometry.pose_encoding import encode_pose
from geometry.scene import normalise_scene
from losses.camera import CameraDistance, camera_loss
from losses.dense import DenseTerms, GradientTerm, dense_loss
from losses.processes import Processes

DepthGradient = Literal["grad", "none"]  # depth has no normals

_MIN_FIRST_PIXELS = 100  # cameras of a sample count if its first view has more valid pixels than this


class PairPredictions(TypedDict, total=False):
    """Predictions for V views of H × W pixels, in the first camera's frame and the scene's own scale.

    Points and their confidence may be absent; cameras and depth are required.

    Attributes:
        pose_enc_list: One (B, V, 9) per iteration of the camera head; see `geometry.pose_encoding`.
        depth: (B, V, H, W, 1).
        depth_conf: (B, V, H, W), above 0.
        world_points: (B, V, H, W, 3).
        world_points_conf: (B, V, H, W), above 0.
    """

    pose_enc_list: list[Tensor]
    depth: Tensor
    depth_conf: Tensor
    world_points: Tensor
    world_points_conf: Tensor


def normalised_targets(batch: PairBatch) -> PairBatch:
    """Return a copy of the batch with scenes normalised by `geometry.scene.normalise_scene`."""
    scene = normalise_scene(
        batch["extrinsics"], batch["cam_points"], batch["world_points"], batch["depths"], batch["point_masks"]
    )
    assert scene.cam_points is not None
    normalised: PairBatch = {**batch, "extrinsics": scene.extrinsics, "depths": scene.depths}
    normalised["cam_points"], normalised["world_points"] = scene.cam_points, scene.world_points
    return normalised


class PairLoss(nn.Module):
    """Compute 5 · camera + (conf + reg + grad) of depth + (conf + reg + grad) of points, if points are predicted.

    Args:
        camera_weight: Weight of ``loss_camera`` in the objective.
        camera_loss: "l1" uses absolute differences of pose encodings, "l2" the norms of their three parts.
        camera_decay: Weight of an iteration of the camera head relative to the next one.
        depth_weight: Weight of the three depth terms in the objective.
        depth_gradient: "grad", differences between neighbouring pixels at 4 scales, or "none".
        point_weight: Weight of the three point terms in the objective; used only if points are predicted.
        point_gradient: "normal", surface normals at 3 scales, "grad" or "none".
        gamma: Weight of the confidence-weighted error, γ in the paper.
        alpha: Weight of the reward for confidence, α in the paper.
        valid_range: Quantile above which dense errors are left out; None keeps all.

    Raises:
        ValueError: A setting is invalid.
    """

    def __init__(
        self,
        camera_weight: float = 5.0,
        camera_loss: CameraDistance = "l1",
        camera_decay: float = 0.6,
        depth_weight: float = 1.0,
        depth_gradient: DepthGradient = "grad",
        point_weight: float = 1.0,
        point_gradient: GradientTerm = "normal",
        gamma: float = 1.0,
        alpha: float = 0.2,
        valid_range: float | None = 0.98,
    ) -> None:
        super().__init__()
        settings = (
            ("camera_loss", camera_loss, CameraDistance),
            ("depth_gradient", depth_gradient, DepthGradient),
            ("point_gradient", point_gradient, GradientTerm),
        )
        for name, value, known in settings:
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, not {value!r}")
        weights = {"camera_weight": camera_weight, "camera_decay": camera_decay, "depth_weight": depth_weight}
        for key, weight in {**weights, "point_weight": point_weight, "gamma": gamma, "alpha": alpha}.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"{key} must be at least 0, not {weight}")
        if valid_range is not None and not 0 < valid_range <= 1:
            raise ValueError(f"valid_range must be None or a quantile above 0 and at most 1, not {valid_range}")
        self.camera_weight, self.depth_weight, self.point_weight = camera_weight, depth_weight, point_weight
        self.camera_loss: CameraDistance = camera_loss
        self.camera_decay = camera_decay
        self.depth_gradient: DepthGradient = depth_gradient
        self.point_gradient: GradientTerm = point_gradient
        self.gamma, self.alpha, self.valid_range = gamma, alpha, valid_range

    def forward(
        self, predictions: PairPredictions, batch: PairBatch, processes: Processes = Processes()
    ) -> dict[str, Tensor]:
        """Return all terms, and their weighted sum as ``loss_objective``; differentiable scalars, float32 or wider.

        Terms: ``loss_camera`` = ``loss_T`` + ``loss_R`` + 0.5 ``loss_FL``; ``loss_conf_depth``,
        ``loss_reg_depth``, ``loss_grad_depth``; the same with ``_point`` if points are predicted.
        ``nonfinite`` counts values that were NaN or infinite and replaced by 0. Rows of weight 0 are ignored. Nothing
        here synchronises with the device.

        Args:
            predictions: Predictions in the frame and scale of the normalised scene.
            batch: Batch that is already normalised, see `normalised_targets`.
            processes: Processes over whose batches means and quantiles are taken; each process gets its part of the
                mean, see :class:`losses.processes.Processes`.
        """
        mask = batch["point_masks"] & (batch["weights"] > 0)[:, None, None, None]
        terms, nonfinite = self._camera(predictions["pose_enc_list"], batch, mask, processes)
        objective = self.camera_weight * terms["loss_camera"]
        dense = {"depth": (self.depth_weight, self._depth(predictions, batch, mask, processes))}
        if "world_points" in predictions:
            dense["point"] = (self.point_weight, self._points(predictions, batch, mask, processes))
        for name, (weight, part) in dense.items():
            objective = objective + weight * (part.conf + part.reg + part.grad)
            nonfinite = nonfinite + part.nonfinite
            for term in ("conf", "reg", "grad"):
                terms[f"loss_{term}_{name}"] = getattr(part, term)
        return {"loss_objective": objective, **terms, "nonfinite": nonfinite.to(objective.dtype)}

    def _camera(
        self, encodings: list[Tensor], batch: PairBatch, mask: Tensor, processes: Processes
    ) -> tuple[dict[str, Tensor], Tensor]:
        height, width = mask.shape[-2:]
        targets = encode_pose(
            _at_least_float32(batch["extrinsics"]), _at_least_float32(batch["intrinsics"]), height, width
        )
        counted = mask[:, 0].sum((1, 2)) > _MIN_FIRST_PIXELS
        stacked = _at_least_float32(torch.stack(list(encodings)))
        parts = camera_loss(stacked, targets, counted, self.camera_loss, self.camera_decay, processes)
        terms = {"loss_camera": parts.total(), "loss_T": parts.translation, "loss_R": parts.rotation}
        return {**terms, "loss_FL": parts.field_of_view}, parts.nonfinite

    def _depth(self, predictions: PairPredictions, batch: PairBatch, mask: Tensor, processes: Processes) -> DenseTerms:
        values = (predictions["depth"], predictions["depth_conf"], batch["depths"][..., None])
        return self._dense(values, mask, self.depth_gradient, processes)

    def _points(self, predictions: PairPredictions, batch: PairBatch, mask: Tensor, processes: Processes) -> DenseTerms:
        values = (predictions["world_points"], predictions["world_points_conf"], batch["world_points"])
        return self._dense(values, mask, self.point_gradient, processes)

    def _dense(
        self, values: tuple[Tensor, Tensor, Tensor], mask: Tensor, gradient: GradientTerm, processes: Processes
    ) -> DenseTerms:
        """Compare a prediction, with its confidence, with its target."""
        prediction, confidence, target = map(_at_least_float32, values)
        settings = (self.gamma, self.alpha, self.valid_range, gradient)
        return dense_loss(prediction, confidence, target, mask, *settings, processes)


def _at_least_float32(values: Tensor) -> Tensor:
    # bfloat16 would round losses to two digits; autocast lowers none of the operations that follow.
    return values.to(torch.promote_types(values.dtype, torch.float32))
