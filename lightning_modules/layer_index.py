"""Layer index of an illustration: Depth Pro, fine-tuned to say which layer painted each pixel."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from batches.layers import IllustrationBatch, LayerBatch
from formats.errors import InputError
from lightning_modules.evaluation_steps import EvaluationSteps
from lightning_modules.pretrained import PretrainedMixin
from lightning_modules.schedules import warmup_cosine
from losses.scale_invariant import ScaleInvariantLoss
from metrics.layer_order import LayerOrder
from networks.checkpoints import LoadReport
from networks.depth_pro import LayerIndexNet, layer_index_net


class LayerIndexModule(PretrainedMixin, EvaluationSteps):
    """Fine-tune Depth Pro on layered art, and predict the layer index of illustrations.

    The index is 0 for the background and 1 for the foremost layer; training and metrics ask for its order and
    proportions only. Source: Maruani et al., "Illustrator's Depth" (CVPR 2026).

    Example::

        module = LayerIndexModule(size="tiny")
        index = module.predict_index(torch.zeros(1, 3, 300, 400, dtype=torch.uint8))  # (1, 300, 400)

    Args:
        size: ``DepthPro-L``, as published, or ``tiny``, which trains on a CPU.
        published_checkpoint: A published Depth Pro file to start training from; or a file in its naming that has
            learnt the layer index, to predict with where no training checkpoint is given.
        encoder_learning_rate: Of AdamW on the two ViTs, at its height.
        decoder_learning_rate: Of AdamW on decoder and head, at its height.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        warmup_steps: Linear warm-up before the cosine.
        final_learning_rate_ratio: Where the cosine ends, as a share of the rates.
        edge_weight: Of the loss's edge term; 0 is without.
        gradient_checkpointing: Recompute blocks in the backward pass, for memory.
        window_chunk_size: Windows that go through the encoder at a time, for memory; null takes all at once.
        compile: Compile the network.
    """

    # Settings that weights of another shape would not fit.
    ARCHITECTURE = ("size",)
    network: LayerIndexNet

    def __init__(
        self,
        size: Literal["DepthPro-L", "tiny"] = "DepthPro-L",
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
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = layer_index_net(
            size, gradient_checkpointing=gradient_checkpointing, window_chunk_size=window_chunk_size
        )
        self.loss = ScaleInvariantLoss(edge_weight)
        self.order = LayerOrder()

    # --- life cycle ---

    def configure_model(self) -> None:
        """In training, start from the published file."""
        self.starts_training()
        if self.hparams["compile"] and self.network._compiled_call_impl is None:
            self.network.compile()

    def accept_for_training(self, report: LoadReport) -> None:
        """Let Depth Pro's last bias, which belongs to its own scale, start anew."""
        if report.dropped:
            self.network.restart_last_bias()

    def accept_for_use(self, report: LoadReport) -> None:
        """Refuse Depth Pro as it is: its head gives depth.

        Raises:
            InputError: The file has Depth Pro's field-of-view branch, so nobody has fine-tuned it here.
        """
        if report.dropped:
            fault = "is Depth Pro, which gives depth and no layer index"
            remedy = "Fine-tune it with `fit`, and name that checkpoint with --ckpt_path."
            raise InputError(self.hparams["published_checkpoint"], fault, remedy)

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for the encoder and one for the rest; warm-up and cosine, by step."""
        h: Any = self.hparams
        groups = [
            {"params": list(self.network.encoder_parameters()), "lr": h.encoder_learning_rate, "name": "encoder"},
            {"params": list(self.network.decoder_parameters()), "lr": h.decoder_learning_rate, "name": "decoder"},
        ]
        fused = self.device.type == "cuda"  # without it, a step holds one more copy of all that trains
        optimizer = AdamW(groups, betas=tuple(h.betas), weight_decay=h.weight_decay, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(optimizer, steps, h.warmup_steps, h.final_learning_rate_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- steps ---

    def index_of(self, images: Tensor) -> Tensor:
        """Layer index of images at their own size, in 0…1.

        Args:
            images: (B, 3, H, W) uint8, RGB. Any size is stretched to the network's square.

        Returns:
            (B, H, W) float32.
        """
        side = self.network.image_size
        values = images.float() / 127.5 - 1
        if values.shape[-2:] != (side, side):
            values = F.interpolate(values, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        index = self.network(values)
        if index.shape[-2:] != images.shape[-2:]:
            index = F.interpolate(index.float(), images.shape[-2:], mode="bilinear", antialias=True)
        return index[:, 0].float()

    def training_step(self, batch: LayerBatch, batch_idx: int) -> Tensor:
        """Loss of a batch; every term is logged."""
        terms = self.loss(self.index_of(batch["images"]), *_truth(batch))
        logged = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict(logged, on_step=True, on_epoch=False, batch_size=len(batch["images"]))
        self.log("loss", terms["loss"].detach(), prog_bar=True, logger=False)
        return terms["loss"]

    def evaluate(self, batch: LayerBatch) -> None:
        """Add a batch to the losses and metrics."""
        index = self.index_of(batch["images"])
        terms = self.loss(index, *_truth(batch))
        images = terms.pop("images_with_order")
        self.add_losses(terms, images)
        self.order.update(index, batch["orders"], batch["layer_counts"], batch["masks"], batch["weights"])

    def metrics(self) -> tuple[LayerOrder]:
        """Order, ranks and boundaries of layers."""
        return (self.order,)

    @torch.no_grad()
    def predict_index(self, images: Tensor) -> Tensor:
        """Layer index in 0…1, (B, H, W) float32, of images (B, 3, H, W) uint8 of any size."""
        return self.index_of(images.to(self.device))

    def predict_step(self, batch: IllustrationBatch, batch_idx: int) -> Tensor:
        """Layer index (H, W) of a picture (H, W, 4), which is laid on white for it."""
        rgb, alpha = batch["image"][..., :3].float(), batch["image"][..., 3:].float() / 255
        image = (rgb * alpha + 255 * (1 - alpha)).round().to(torch.uint8)
        return self.predict_index(image.permute(2, 0, 1)[None])[0]


def _truth(batch: LayerBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Layer index (B, H, W) in 0…1, where it is known, and the weights."""
    return batch["orders"] / batch["layer_counts"][:, None, None], batch["masks"], batch["weights"]
