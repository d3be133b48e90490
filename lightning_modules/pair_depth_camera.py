"""Depth and cameras from image pairs: fine-tuning of VGGT on views with known depth and cameras."""

from __future__ import annotations

from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from batches.pair import ImageViewsBatch, PairBatch
from formats.errors import InputError
from formats.ranges import AT_LEAST_0, AT_LEAST_1, DECAY, SHARE, Range, check_ranges
from geometry.pose_encoding import decode_pose
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.pretrained import PretrainedMixin
from lightning_modules.schedules import warmup_cosine
from lightning_modules.training_steps import GradientNorms
from losses.camera import CameraDistance
from losses.dense import GradientTerm
from losses.pair_objective import DepthGradient, PairLoss, normalised_targets
from losses.processes import Processes
from metrics.depth import DepthErrors
from metrics.pose import PoseErrors
from networks.config import config_from
from networks.vggt import VGGT, VGGTConfig

PARTS = ("aggregator", "camera_head", "depth_head", "point_head")
RANGES = {
    "learning_rate": AT_LEAST_0,
    "weight_decay": AT_LEAST_0,
    "betas": DECAY,
    "warmup_ratio": SHARE,
    "final_learning_rate_ratio": SHARE,
    "clip_norm": AT_LEAST_0,
    "camera_weight": AT_LEAST_0,
    "depth_weight": AT_LEAST_0,
    "point_weight": AT_LEAST_0,
    "gamma": AT_LEAST_0,
    "alpha": AT_LEAST_0,
    "valid_range": Range(0, 1, above=True, or_none=True),
    "frames_chunk_size": AT_LEAST_1,
}


class ScenePrediction(TypedDict):
    """Prediction for V views; the first view's frame is the world, lengths are in the scene's own unit.

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


class PairDepthCameraModule(PretrainedMixin, EvaluationSteps):
    """Fine-tune VGGT on views of a scene, and predict depth and cameras.

    The objective falls below zero as confidence grows, so models are compared by metrics: depth errors (scenes scaled
    to unit mean distance; as predicted, and scaled by each image's median) and errors of relative poses.

    Example::

        >>> from networks.vggt import PRESETS
        >>> module = PairDepthCameraModule(network=PRESETS["tiny"])
        >>> module.predict_scene(torch.rand(1, 2, 3, 56, 70))["depth"].shape
        torch.Size([1, 2, 56, 70])

    Args:
        network: Sizes and heads of VGGT; the released VGGT-1B by default. ``enable_point`` adds points with their
            three loss terms; the camera and depth heads are required.
        published_checkpoint: Published VGGT file to start training from, or to predict with where no training
            checkpoint is given.
        shipped_weights: Name of weights in the repository to predict with where neither a training checkpoint nor a
            published file is given; ``network`` must be theirs.
        frozen: Patterns of parameter names that are not trained, such as ``aggregator.*``; [] trains everything.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        betas: Decay rates of AdamW's averages of the gradient and its square.
        warmup_ratio: Share of all steps in which the learning rate rises linearly.
        final_learning_rate_ratio: Learning rate at the end of the cosine, as a share of ``learning_rate``.
        clip_norm: Maximum gradient norm of the aggregator, the camera head and each dense head, clipped
            separately; 0 disables clipping.
        camera_weight: Weight of the camera loss in the objective.
        camera_loss: ``l1`` or ``l2``.
        depth_weight: Weight of the depth terms in the objective.
        depth_gradient: ``grad`` compares differences between neighbouring pixels; ``none`` disables the term.
        point_weight: Weight of the point terms in the objective.
        point_gradient: ``normal``, ``grad`` or ``none``.
        gamma: Weight of the confidence-weighted error.
        alpha: Weight of the reward for confidence.
        valid_range: Quantile above which dense errors are left out; null keeps all.
        gradient_checkpointing: Recompute blocks in the backward pass, to save memory.
        frames_chunk_size: Number of frames that pass through a dense head at a time, to save memory.
        log_gradients: Gradient norms to log, before clipping: ``none``, those of the ``parts`` of the network, or
            ``full``, those of each parameter too, with the ten largest at the end.
    """

    SHIPPED_WEIGHTS = "depth_simulated"
    TAGS = ("depth-estimation", "camera-pose", "vggt")
    OBJECTIVE = "loss_objective"

    network: VGGT

    def __init__(
        self,
        network: VGGTConfig = VGGTConfig(),
        published_checkpoint: str | None = None,
        shipped_weights: str | None = None,
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
        depth_gradient: DepthGradient = "grad",
        point_weight: float = 1.0,
        point_gradient: GradientTerm = "normal",
        gamma: float = 1.0,
        alpha: float = 0.2,
        valid_range: float | None = 0.98,
        gradient_checkpointing: bool = False,
        frames_chunk_size: int = 8,
        log_gradients: GradientNorms = "parts",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges("--model", self.hparams, RANGES)
        self.network_config = config_from(VGGTConfig, network)
        self.hparams["network"] = asdict(self.network_config)  # plain values, which weights_only=True reads
        if not (self.network_config.enable_camera and self.network_config.enable_depth):
            remedy = "Set enable_camera and enable_depth to true."
            raise InputError("--model.network", "this task needs the camera head and the depth head", remedy)
        self.network = VGGT(
            self.network_config, gradient_checkpointing=gradient_checkpointing, frames_chunk_size=frames_chunk_size
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
        """In training, load the published file, freeze what the patterns match, and shard if the strategy does.

        Raises:
            InputError: A pattern matches nothing, nothing is left to train, or ``trainer.gradient_clip_val`` is set.
        """
        if not self.starts_training():
            return
        if self.trainer.gradient_clip_val is not None:
            fault = "is not used by this task, which clips each part of the network separately"
            raise InputError("--trainer.gradient_clip_val", fault, "Set --model.clip_norm instead.")
        patterns = self.hparams["frozen"] or []
        names = [name for name, _ in self.network.named_parameters()]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                fault = f"'{pattern}' matches no parameter"
                raise InputError("--model.frozen", fault, f"Names begin with {', '.join(PARTS)}; try 'aggregator.*'.")
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not any(fnmatchcase(name, pattern) for pattern in patterns))
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            raise InputError("--model.frozen", "leaves nothing to train", "Remove a pattern.")
        if self.trainer.precision == "bf16-mixed" and self.device_mesh is None:
            self.network.aggregator.store_frozen()  # half the memory for frozen weights, and the same results
        self.shard(self.network.transformer_blocks())

    def configure_optimizers(self) -> Any:
        """Return AdamW on the trained parameters; linear warm-up and cosine decay per step."""
        h: Any = self.hparams
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        fused = self.fused_optimizer
        optimizer = AdamW(trained, h.learning_rate, betas=tuple(h.betas), weight_decay=h.weight_decay, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, round(steps * h.warmup_ratio), h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip each part separately."""
        limit = self.hparams["clip_norm"]
        for part in PARTS if limit else ():
            module = getattr(self.network, part)
            gradients = [p for p in module.parameters() if p.grad is not None] if module is not None else []
            if gradients:
                nn.utils.clip_grad_norm_(gradients, limit)

    # --- steps ---

    def losses(self, batch: PairBatch, processes: Processes = Processes()) -> dict[str, Tensor]:
        """Compute the objective of a batch and its terms."""
        terms: dict[str, Tensor] = self.loss(self.network(batch["images"]), normalised_targets(batch), processes)
        return terms

    def evaluate(self, batch: PairBatch) -> None:
        """Add a batch to the losses and metrics."""
        output, targets = self.network(batch["images"]), normalised_targets(batch)
        self.add_losses(self.loss(output, targets), batch["weights"].sum())
        self.depth_errors.update(output["depth"][..., 0], targets["depths"], targets["point_masks"], batch["weights"])
        height, width = batch["images"].shape[-2:]
        cameras = decode_pose(output["pose_enc_list"][-1], height, width)
        self.pose_errors.update(*cameras, targets["extrinsics"], targets["intrinsics"], batch["weights"])

    def metrics(self) -> tuple[DepthErrors, PoseErrors]:
        """Return the metrics of depth and of relative poses."""
        return self.depth_errors, self.pose_errors

    @torch.no_grad()
    def predict_scene(self, images: Tensor) -> ScenePrediction:
        """Predict depth and cameras of views (B, V, 3, H, W) in 0…1."""
        output = self.network(images)
        extrinsics, intrinsics = decode_pose(output["pose_enc_list"][-1], images.shape[-2], images.shape[-1])
        return {
            "depth": output["depth"][..., 0],
            "confidence": output["depth_conf"],
            "extrinsics": extrinsics,
            "intrinsics": intrinsics,
        }

    def predict_step(self, batch: PairBatch | ImageViewsBatch, batch_idx: int) -> ScenePrediction:
        """Predict depth and cameras of a batch of views."""
        return self.predict_scene(batch["images"])
