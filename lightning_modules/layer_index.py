"""Layer index of illustrations: Depth Pro fine-tuned to estimate which layer painted each pixel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from batches.layers import IllustrationBatch, LayerBatch
from formats.errors import InputError
from formats.ranges import AT_LEAST_0, AT_LEAST_1, DECAY, SHARE, check_ranges, or_none
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.pretrained import PretrainedMixin
from lightning_modules.schedules import warmup_cosine
from lightning_modules.training_steps import GradientNorms
from losses.processes import Processes
from losses.scale_invariant import ScaleInvariantLoss
from metrics.layer_order import LayerOrder
from networks.checkpoints import LoadReport
from networks.config import config_from
from networks.depth_pro import DepthProConfig, LayerIndexNet

RANGES = {
    "encoder_learning_rate": AT_LEAST_0,
    "decoder_learning_rate": AT_LEAST_0,
    "weight_decay": AT_LEAST_0,
    "betas": DECAY,
    "warmup_steps": AT_LEAST_0,
    "final_learning_rate_ratio": SHARE,
    "edge_weight": AT_LEAST_0,
    "window_chunk_size": or_none(AT_LEAST_1),
}


class LayerIndexModule(PretrainedMixin, EvaluationSteps):
    """Fine-tune Depth Pro on layered art, and predict the layer index of illustrations.

    The index is 0 for the background and 1 for the foremost layer; loss and metrics depend only on its order and
    proportions. Source: Maruani et al., "Illustrator's Depth" (CVPR 2026).

    Example:
        >>> from networks.depth_pro import PRESETS
        >>> module = LayerIndexModule(network=PRESETS["tiny"])
        >>> module.predict_index(torch.zeros(1, 3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([1, 300, 400])

    Args:
        network: Sizes of the network; Depth Pro as published by default.
        published_checkpoint: Published Depth Pro file to start training from; or a layer index network in the same
            format, to predict with if no training checkpoint is given.
        encoder_learning_rate: Peak learning rate of AdamW for the two ViTs.
        decoder_learning_rate: Peak learning rate of AdamW for decoder and head.
        weight_decay: Weight decay of AdamW.
        betas: Decay rates of AdamW's averages of the gradient and its square.
        warmup_steps: Steps in which the learning rates rise linearly.
        final_learning_rate_ratio: Learning rates at the end of the cosine, as a share of their peaks.
        edge_weight: Weight of the edge term of the loss; 0 disables it.
        gradient_checkpointing: Recompute blocks in the backward pass, to save memory.
        window_chunk_size: Number of windows that pass through the encoder at a time, to save memory; null for all.
        compile: Compile the network with torch.compile.
        log_gradients: Gradient norms to log, before clipping: ``none``, those of the ``parts`` of the network, or
            ``full``, those of each parameter too, with the ten largest at the end.
    """

    TAGS = ("image-segmentation", "layer-order", "depth-pro")

    network: LayerIndexNet

    def __init__(
        self,
        network: DepthProConfig = DepthProConfig(),
        published_checkpoint: str | None = None,
        encoder_learning_rate: float = 1e-5,
        decoder_learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 0,
        final_learning_rate_ratio: float = 0.0,
        edge_weight: float = 0.0,
        gradient_checkpointing: bool = False,
        window_chunk_size: int | None = None,
        compile: bool = False,
        log_gradients: GradientNorms = "parts",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges("--model", self.hparams, RANGES)
        self.network_config = config_from(DepthProConfig, network)
        self.hparams["network"] = asdict(self.network_config)  # plain values, which weights_only=True reads
        self.network = LayerIndexNet(
            self.network_config, gradient_checkpointing=gradient_checkpointing, window_chunk_size=window_chunk_size
        )
        if compile:
            self.network.compile()
        self.loss = ScaleInvariantLoss(edge_weight)
        self.order = LayerOrder()

    # --- life cycle ---

    def configure_model(self) -> None:
        """In training, load the published file, then shard the network if the strategy does."""
        if self.starts_training():
            self.shard(self.network.transformer_blocks())

    def accept_for_training(self, report: LoadReport) -> None:
        """Reset the last bias of Depth Pro, which belongs to the scale of depth."""
        if report.dropped:
            self.network.reset_last_bias()

    def accept_for_use(self, report: LoadReport) -> None:
        """Refuse Depth Pro without fine-tuning, since its head predicts depth.

        Raises:
            InputError: The file has Depth Pro's field-of-view branch.
        """
        if report.dropped:
            fault = "is Depth Pro, which predicts depth rather than a layer index"
            remedy = "Fine-tune it with `fit`, and pass that checkpoint with --ckpt_path."
            raise InputError(self.hparams["published_checkpoint"], fault, remedy)

    def configure_optimizers(self) -> Any:
        """Return AdamW with separate learning rates for encoder and decoder; warm-up and cosine decay per step."""
        h: Any = self.hparams
        groups = [
            {"params": list(self.network.encoder_parameters()), "lr": h.encoder_learning_rate, "name": "encoder"},
            {"params": list(self.network.decoder_parameters()), "lr": h.decoder_learning_rate, "name": "decoder"},
        ]
        fused = self.fused_optimizer
        optimizer = AdamW(groups, betas=tuple(h.betas), weight_decay=h.weight_decay, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, h.warmup_steps, h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- steps ---

    def index_of(self, images: Tensor) -> Tensor:
        """Estimate the layer index of images at their own size, in 0…1.

        Args:
            images: (B, 3, H, W) uint8, RGB, of any size; stretched to the square input of the network.

        Returns:
            (B, H, W) float32.
        """
        side = self.network.image_size
        values = images.float() / 127.5 - 1
        if values.shape[-2:] != (side, side):
            values = F.interpolate(values, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        index: Tensor = self.network(values)
        if index.shape[-2:] != images.shape[-2:]:
            index = F.interpolate(index.float(), images.shape[-2:], mode="bilinear", antialias=True)
        return index[:, 0].float()

    def losses(self, batch: LayerBatch, processes: Processes = Processes()) -> dict[str, Tensor]:
        """Compute the loss of a batch and its terms."""
        terms: dict[str, Tensor] = self.loss(self.index_of(batch["images"]), *_targets(batch), processes)
        return terms

    def evaluate(self, batch: LayerBatch) -> None:
        """Add a batch to the losses and metrics."""
        index = self.index_of(batch["images"])
        terms = self.loss(index, *_targets(batch))
        images = terms.pop("images_with_order")
        self.add_losses(terms, images)
        self.order.update(index, batch["orders"], batch["layer_counts"], batch["masks"], batch["weights"])

    def metrics(self) -> tuple[LayerOrder]:
        """Return the metrics of order, ranks and boundaries of layers."""
        return (self.order,)

    @torch.no_grad()
    def predict_index(self, images: Tensor) -> Tensor:
        """Estimate the layer index in 0…1, (B, H, W) float32, of images (B, 3, H, W) uint8 of any size."""
        return self.index_of(images.to(self.device))

    def predict_step(self, batch: IllustrationBatch, batch_idx: int) -> Tensor:
        """Estimate the layer index (H, W) of an image on white; that of an SVG file is exact."""
        if "orders" in batch:
            return batch["orders"] / batch["orders"].max().clamp(min=1)
        return self.predict_index(batch["rgb"][None])[0]


def _targets(batch: LayerBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the layer index (B, H, W) in 0…1, the mask where it is known, and the weights of the images."""
    return batch["orders"] / batch["layer_counts"][:, None, None], batch["masks"], batch["weights"]
