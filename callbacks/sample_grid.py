"""Pictures on the way: to whichever loggers are on, and to files where a logger takes none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image

from exporters.visualization.spectrograms import spectrogram_grid
from formats.images import write_png
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule


def log_picture(trainer: Trainer, name: str, image: NDArray[np.uint8]) -> None:
    """Give a picture (H, W, 3) to every logger; loggers without pictures get a PNG in their folder.

    Call it on the first process only.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [Image.fromarray(image)], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, trainer.global_step, dataformats="HWC")
        else:
            folder = Path(logger.log_dir or trainer.default_root_dir)
            write_png(folder / "pictures" / f"{name}_{trainer.global_step:07d}.png", image)


def is_due(trainer: Trainer, batch_idx: int, every_n_epochs: int) -> bool:
    """Whether to draw at this batch of validation: the first of every so many epochs, on the first process."""
    epoch = (trainer.current_epoch + 1) % every_n_epochs == 0 or bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
    return epoch and batch_idx == 0 and trainer.is_global_zero and not trainer.sanity_checking


class SampleGrid(Callback):
    """Log a grid of generated spectrograms, a row per user, drawn with the averaged weights.

    Args:
        every_n_epochs: Draw at the validation of every so many epochs.
        user_ids: Users to draw; None draws all, the first ten at most.
        samples_per_user: Columns of the grid.
    """

    def __init__(self, every_n_epochs: int = 10, user_ids: list[int] | None = None, samples_per_user: int = 4) -> None:
        self.every_n_epochs, self.user_ids, self.samples_per_user = every_n_epochs, user_ids, samples_per_user

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw before the first batch: by then the averaged weights are in place, whatever the callbacks' order."""
        if dataloader_idx or not is_due(trainer, batch_idx, self.every_n_epochs):
            return
        assert isinstance(pl_module, UserConditionedDiTModule)
        assert pl_module.latent_space is not None
        users = self.user_ids or pl_module.latent_space.user_ids.tolist()[:10]
        wanted = [(user, index) for user in users for index in range(self.samples_per_user)]
        user_ids, indices = torch.tensor(wanted).unbind(dim=1)
        images = pl_module.generate(user_ids, indices).permute(0, 2, 3, 1).cpu().numpy()
        n = self.samples_per_user
        rows = {f"user {user}": list(images[row * n : row * n + n]) for row, user in enumerate(users)}
        log_picture(trainer, "samples", spectrogram_grid(rows))
