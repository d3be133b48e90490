"""VGGT's training objective on views of a scene: cameras, depth and, where predicted, points.

Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025. The objective can go below zero, because
the reward for confidence has no bound: watch metrics beside it.
"""

from __future__ import annotations

from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor, nn

from batches.pair import PairBatch
from geometry.pose_encoding import encode_pose
from geometry.scene import normalise_scene
from losses.camera import CameraDistance, camera_loss
from losses.dense import DenseTerms, GradientTerm, dense_loss

DepthGradient = Literal["grad", "none"]  # depth alone has no normals

_FEWEST_FIRST_PIXELS = 100  # a sample's cameras count with more valid pixels than these in its first view
_FIELD_WEIGHT = 0.5


class PairPredictions(TypedDict, total=False):
    """What a network says about V views of H × W pixels, in the first camera's frame and the scene's own scale.

    Points and their confidence may be absent; cameras and depth are needed.

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
    """Return the batch with its scenes as `geometry.scene.normalise_scene` makes them; the given one is kept."""
    scene = normalise_scene(
        batch["extrinsics"], batch["cam_points"], batch["world_points"], batch["depths"], batch["point_masks"]
    )
    assert scene.cam_points is not None
    normalised: PairBatch = {**batch, "extrinsics": scene.extrinsics, "depths": scene.depths}
    normalised["cam_points"], normalised["world_points"] = scene.cam_points, scene.world_points
    return normalised


class PairLoss(nn.Module):
    """5 · camera + (conf + reg + grad) of depth + (conf + reg + grad) of points, where points are predicted.

    Args:
        camera_weight: Of ``loss_camera`` in the objective.
        camera_loss: "l1" takes absolute differences of pose encodings, "l2" the lengths of their three parts.
        camera_decay: Weight of an iteration of the camera head relative to the one after it.
        depth_weight: Of the three depth terms in the objective.
        depth_gradient: "grad", differences between neighbouring pixels at 4 scales, or "none".
        point_weight: Of the three point terms in the objective; counts only where points are predicted.
        point_gradient: "normal", surface normals at 3 scales, "grad" or "none".
        gamma: Weight of the confidence-weighted error, γ in the paper.
        alpha: Weight of the reward for confidence, α in the paper.
        valid_range: Quantile above which dense errors are left out; None keeps all.

    Raises:
        ValueError: A setting has no meaning.
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
                raise ValueError(f"{name} is one of {', '.join(get_args(known))}, not {value!r}")
        if valid_range is not None and not 0 < valid_range <= 1:
            raise ValueError(f"valid_range is a quantile above 0 and up to 1, or None, not {valid_range}")
        self.camera_weight, self.depth_weight, self.point_weight = camera_weight, depth_weight, point_weight
        self.camera_loss: CameraDistance = camera_loss
        self.camera_decay = camera_decay
        self.depth_gradient: DepthGradient = depth_gradient
        self.point_gradient: GradientTerm = point_gradient
        self.gamma, self.alpha, self.valid_range = gamma, alpha, valid_range

    def forward(self, predictions: PairPredictions, batch: PairBatch) -> dict[str, Tensor]:
        """Return every term, and their sum as ``loss_objective``; scalars in float32 at least, on the graph.

        Terms: ``loss_camera`` = ``loss_T`` + ``loss_R`` + 0.5 ``loss_FL``; ``loss_conf_depth``,
        ``loss_reg_depth``, ``loss_grad_depth``; the same with ``_point`` where points are predicted.
        ``nonfinite`` counts values that were NaN or infinite, and stood in for by 0. Rows of weight 0 count
        for nothing. The host is not made to wait for the device.

        Args:
            predictions: In the frame and scale of the normalised scene.
            batch: ALREADY normalised; see `normalised_targets`.
        """
        mask = batch["point_masks"] & (batch["weights"] > 0)[:, None, None, None]
        terms, nonfinite = self._camera(predictions["pose_enc_list"], batch, mask)
        objective = self.camera_weight * terms["loss_camera"]
        dense = {"depth": (self.depth_weight, self._depth(predictions, batch, mask))}
        if "world_points" in predictions:
            dense["point"] = (self.point_weight, self._points(predictions, batch, mask))
        for name, (weight, part) in dense.items():
            objective = objective + weight * (part.conf + part.reg + part.grad)
            nonfinite = nonfinite + part.nonfinite
            for term in ("conf", "reg", "grad"):
                terms[f"loss_{term}_{name}"] = getattr(part, term)
        return {"loss_objective": objective, **terms, "nonfinite": nonfinite.to(objective.dtype)}

    def _camera(self, encodings: list[Tensor], batch: PairBatch, mask: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        height, width = mask.shape[-2:]
        targets = encode_pose(_precise(batch["extrinsics"]), _precise(batch["intrinsics"]), height, width)
        counted = mask[:, 0].sum((1, 2)) > _FEWEST_FIRST_PIXELS
        stacked = _precise(torch.stack(list(encodings)))
        t, r, fl, nonfinite = camera_loss(stacked, targets, counted, self.camera_loss, self.camera_decay)
        terms = {"loss_camera": t + r + _FIELD_WEIGHT * fl, "loss_T": t, "loss_R": r, "loss_FL": fl}
        return terms, nonfinite

    def _depth(self, predictions: PairPredictions, batch: PairBatch, mask: Tensor) -> DenseTerms:
        target = batch["depths"][..., None]
        return self._dense(predictions["depth"], predictions["depth_conf"], target, mask, self.depth_gradient)

    def _points(self, predictions: PairPredictions, batch: PairBatch, mask: Tensor) -> DenseTerms:
        points, confidence = predictions["world_points"], predictions["world_points_conf"]
        return self._dense(points, confidence, batch["world_points"], mask, self.point_gradient)

    def _dense(
        self, prediction: Tensor, confidence: Tensor, target: Tensor, mask: Tensor, gradient: GradientTerm
    ) -> DenseTerms:
        values = (_precise(prediction), _precise(confidence), _precise(target))
        return dense_loss(*values, mask, self.gamma, self.alpha, self.valid_range, gradient)


def _precise(values: Tensor) -> Tensor:
    # bfloat16 would round losses to two digits; nothing from here on is an operation that autocast lowers
    return values.to(torch.promote_types(values.dtype, torch.float32))
