"""Depth and cameras from image pairs: VGGT, fine-tuned on views with depth and cameras."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from batches.pair import ImageViewsBatch, PairBatch
from formats.errors import InputError
from geometry.pose_encoding import decode_pose
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.pretrained import PublishedStart
from lightning_modules.schedules import warmup_cosine
from losses.camera import CameraDistance
from losses.dense import GradientTerm
from losses.pair import PairLoss, normalised_targets
from metrics.depth import DepthErrors
from metrics.pose import PoseErrors
from networks.vggt import VGGT, vggt

PARTS = ("aggregator", "camera_head", "depth_head", "point_head")


class ScenePrediction(TypedDict):
    """What the network says of V views; the first view is the world, lengths are in the scene's own unit.

    Attributes:
        depth: (B, V, H, W), along the optical axis.
        confidence: (B, V, H, W), above 1.
        extrinsics: (B, V, 3, 4), world → camera.
        intrinsics: (B, V, 3, 3), pixels.
    """

    depth: Tensor
    confidence: Tensor
    extrinsics: Tensor
    intrinsics: Tensor


class PairDepthCameraModule(PublishedStart, EvaluationSteps):
    """Fine-tune VGGT on views of a scene, and predict depth and cameras.

    The objective falls below zero as confidence grows, so metrics decide: depth errors (scenes scaled to unit
    mean distance; raw, and scaled by each image's median) and relative poses.

    Example::

        module = PairDepthCameraModule(size="tiny")
        prediction = module.predict_scene(torch.rand(1, 2, 3, 112, 140))

    Args:
        size: ``VGGT-1B``, as published, or ``tiny``, which trains on a CPU.
        enable_point: Predict points too, with their three loss terms.
        published_checkpoint: A published VGGT file to start training from, or to predict with where no training
            checkpoint is given.
        frozen: Patterns of parameter names that do not train, such as ``aggregator.*``; [] trains everything.
        learning_rate: Of AdamW, at its height.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        warmup_ratio: Share of all steps in which the rate rises linearly.
        final_learning_rate_ratio: Where the cosine ends, as a share of ``learning_rate``.
        clip_norm: Gradients of aggregator, camera head and each dense head are clipped to this norm, each by
            itself; 0 does not clip.
        camera_weight: Of the camera loss in the objective.
        camera_loss: ``l1`` or ``l2``.
        depth_weight: Of the depth terms in the objective.
        depth_gradient: ``grad`` compares differences between neighbours, ``none`` does not.
        point_weight: Of the point terms in the objective.
        point_gradient: ``normal``, ``grad`` or ``none``.
        gamma: Weight of the confidence-weighted error.
        alpha: Weight of the reward for confidence.
        valid_range: Quantile of dense errors above which they are left out; null keeps all.
        gradient_checkpointing: Recompute blocks in the backward pass, for memory.
        frames_chunk_size: Frames that go through a dense head at a time, for memory.
    """

    # Settings that weights of another shape would not fit.
    ARCHITECTURE = ("size", "enable_point")
    network: VGGT

    def __init__(
        self,
        size: Literal["VGGT-1B", "small", "tiny"] = "VGGT-1B",
        enable_point: bool = False,
        published_checkpoint: str | None = None,
        frozen: list[str] | None = None,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_ratio: float = 0.05,
        final_learning_rate_ratio: float = 2e-4,
        clip_norm: float = 1.0,
        camera_weight: float = 5.0,
        camera_loss: CameraDistance = "l1",
        depth_weight: float = 1.0,
        depth_gradient: Literal["grad", "none"] = "grad",
        point_weight: float = 1.0,
        point_gradient: GradientTerm = "normal",
        gamma: float = 1.0,
        alpha: float = 0.2,
        valid_range: float | None = 0.98,
        gradient_checkpointing: bool = False,
        frames_chunk_size: int = 8,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = vggt(
            size,
            enable_point=enable_point,
            gradient_checkpointing=gradient_checkpointing,
            frames_chunk_size=frames_chunk_size,
        )
        self.loss = PairLoss(
            camera_weight=camera_weight,
            camera_loss=camera_loss,
            depth_weight=depth_weight,
            depth_gradient=depth_gradient,
            point_weight=point_weight,
            point_gradient=point_gradient,
            gamma=gamma,
            alpha=alpha,
            valid_range=valid_range,
        )
        self.depth_errors, self.pose_errors = DepthErrors(), PoseErrors()

    # --- life cycle ---

    def configure_model(self) -> None:
        """In training, start from the published file, then freeze what the patterns name."""
        if not self.starts_training():
            return
        patterns = self.hparams["frozen"] or []
        names = [name for name, _ in self.network.named_parameters()]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                fault = f"'{pattern}' matches no parameter"
                raise InputError("--model.frozen", fault, f"Names begin with {', '.join(PARTS)}; try 'aggregator.*'.")
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not any(fnmatchcase(name, pattern) for pattern in patterns))
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            raise InputError("--model.frozen", "leaves nothing to train", "Take a pattern out.")
        if self.trainer.precision == "bf16-mixed":
            self.network.aggregator.store_frozen()  # half the memory for what is frozen, and the same numbers

    def configure_optimizers(self) -> Any:
        """AdamW on what trains; linear warm-up and cosine, by step."""
        h: Any = self.hparams
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        fused = self.device.type == "cuda"  # without it, a step holds one more copy of all that trains
        optimizer = AdamW(trained, h.learning_rate, betas=tuple(h.betas), weight_decay=h.weight_decay, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, round(steps * h.warmup_ratio), h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip each part by itself, and log the norms that the parts had; the trainer's own clipping is not used."""
        limit = self.hparams["clip_norm"] or float("inf")
        for part in PARTS:
            module = getattr(self.network, part)
            gradients = [p for p in module.parameters() if p.grad is not None] if module is not None else []
            if gradients:
                self.log(f"grad_norm/{part}", nn.utils.clip_grad_norm_(gradients, limit))

    # --- steps ---

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Objective of a batch; every term is logged."""
        terms = self.loss(self.network(batch["images"]), normalised_targets(batch))
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict(logged, on_step=True, on_epoch=False, batch_size=len(batch["images"]))
        self.log("objective", terms["loss_objective"].detach(), prog_bar=True, logger=False)
        return terms["loss_objective"]

    def evaluate(self, batch: PairBatch) -> None:
        """Add a batch to the losses and metrics."""
        output, targets = self.network(batch["images"]), normalised_targets(batch)
        self.add_losses(self.loss(output, targets), batch["weights"].sum())
        self.depth_errors.update(output["depth"][..., 0], targets["depths"], targets["point_masks"], batch["weights"])
        height, width = batch["images"].shape[-2:]
        cameras = decode_pose(output["pose_enc_list"][-1], height, width)
        self.pose_errors.update(*cameras, targets["extrinsics"], targets["intrinsics"], batch["weights"])

    def metrics(self) -> tuple[DepthErrors, PoseErrors]:
        """Errors of depth and of relative poses."""
        return self.depth_errors, self.pose_errors

    @torch.no_grad()
    def predict_scene(self, images: Tensor) -> ScenePrediction:
        """Depth and cameras of views (B, V, 3, H, W) in 0…1."""
        output = self.network(images)
        extrinsics, intrinsics = decode_pose(output["pose_enc_list"][-1], images.shape[-2], images.shape[-1])
        return {
            "depth": output["depth"][..., 0],
            "confidence": output["depth_conf"],
            "extrinsics": extrinsics,
            "intrinsics": intrinsics,
        }

    def predict_step(self, batch: PairBatch | ImageViewsBatch, batch_idx: int) -> ScenePrediction:
        """Depth and cameras of a batch of views."""
        return self.predict_scene(batch["images"])
