"""Callback that draws the layer index during training."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from batches.layers import LayerBatch
from callbacks.image_logging import is_due, log_image
from exporters.visualization.layer_index import layer_index_sheet
from formats.ranges import AT_LEAST_1, check_ranges
from lightning_modules.layer_index import LayerIndexModule


class LayerImages(Callback):
    """Log the first validation images: input, true index, predicted index, difference.

    Args:
        every_n_epochs: Draw at the validation of every n-th epoch.
        num_images: Largest number of rows, taken from the first batch.
    """

    def __init__(self, every_n_epochs: int = 1, num_images: int = 4) -> None:
        check_ranges(
            "LayerImages",
            {"every_n_epochs": every_n_epochs, "num_images": num_images},
            {"every_n_epochs": AT_LEAST_1, "num_images": AT_LEAST_1},
        )
        self.every_n_epochs, self.num_images = every_n_epochs, num_images

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LayerBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw after the first batch, on the first process."""
        if not is_due(trainer, batch_idx, self.every_n_epochs):
            return
        assert isinstance(pl_module, LayerIndexModule)
        rows = [row for row in range(len(batch["names"])) if batch["weights"][row] > 0][: self.num_images]
        if not rows:
            return
        images, orders, masks = (batch[key][rows].cpu() for key in ("images", "orders", "masks"))
        true = orders / batch["layer_counts"][rows].cpu()[:, None, None]
        predicted = pl_module.predict_index(images).cpu()
        names = [batch["names"][row] for row in rows]
        sheet = layer_index_sheet(images.numpy(), true.numpy(), predicted.numpy(), masks.numpy(), names)
        log_image(trainer, "layer_index", sheet)
