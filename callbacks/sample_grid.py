"""Grid of generated spectrograms during training."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from callbacks.image_logging import is_due, log_image
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.ranges import AT_LEAST_1, check_ranges
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule


class SampleGrid(Callback):
    """Log a grid of generated spectrograms, a row per user, drawn with the averaged weights.

    Args:
        every_n_epochs: Draw at the validation of every n-th epoch.
        user_ids: Users to draw; None draws the first ten.
        samples_per_user: Columns of the grid.
    """

    def __init__(self, every_n_epochs: int = 10, user_ids: list[int] | None = None, samples_per_user: int = 4) -> None:
        check_ranges(
            "SampleGrid",
            {"every_n_epochs": every_n_epochs, "samples_per_user": samples_per_user},
            {"every_n_epochs": AT_LEAST_1, "samples_per_user": AT_LEAST_1},
        )
        self.every_n_epochs, self.user_ids, self.samples_per_user = every_n_epochs, user_ids, samples_per_user

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw before the first batch, when the averaged weights are in place, regardless of the order of callbacks."""
        if dataloader_idx or not is_due(trainer, batch_idx, self.every_n_epochs):
            return
        assert isinstance(pl_module, UserConditionedDiTModule)
        users = self.user_ids or pl_module.require_latent_space().user_ids.tolist()[:10]
        requests = [(user, index) for user in users for index in range(self.samples_per_user)]
        user_ids, indices = torch.tensor(requests).unbind(dim=1)
        images = pl_module.generate(user_ids, indices).permute(0, 2, 3, 1).cpu().numpy()
        n = self.samples_per_user
        rows = {f"user {user}": list(images[row * n : row * n + n]) for row, user in enumerate(users)}
        axes = pl_module.require_latent_space().axes
        log_image(trainer, "samples", spectrogram_sheet(rows, axes, height=192))
