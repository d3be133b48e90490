"""Logging of images during training, shared by the callbacks that draw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image

from formats.images import write_png


def log_image(trainer: Trainer, name: str, image: NDArray[np.uint8]) -> None:
    """Log an image (H, W, 3) with every logger; loggers without images get a PNG in ``images/`` of their folder.

    Call it on the first process only.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [Image.fromarray(image)], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, image, trainer.global_step, dataformats="HWC")
        else:
            folder = Path(logger.log_dir or trainer.default_root_dir)
            write_png(folder / "images" / f"{name}_{trainer.global_step:07d}.png", image)


def is_due(trainer: Trainer, batch_idx: int, every_n_epochs: int) -> bool:
    """Return whether to draw at this validation batch: the first of every n-th epoch, on the first process."""
    fast_dev_run: bool | int = getattr(trainer, "fast_dev_run", False)  # Lightning sets it without declaring it
    epoch = (trainer.current_epoch + 1) % every_n_epochs == 0 or bool(fast_dev_run)
    return epoch and batch_idx == 0 and trainer.is_global_zero and not trainer.sanity_checking
