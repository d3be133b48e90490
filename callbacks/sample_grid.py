"""Grid of generated spectrograms during training."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from callbacks.image_logging import is_due, log_image
from exporters.visualization.latents import latent_images
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.errors import InputError
from formats.ranges import AT_LEAST_1, check_ranges
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.tokenizers import Tokenizer


class SampleGrid(Callback):
    """Log a grid of generated spectrograms, a row per user, drawn with the averaged weights.

    Without the tokenizer of the latents, the generated latents themselves are drawn.

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
        self.tokenizer: Tokenizer | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out whether there is a tokenizer, rather than at the first grid.

        Raises:
            InputError: The user names a tokenizer that cannot be used.
        """
        assert isinstance(pl_module, UserConditionedDiTModule)
        try:
            self.tokenizer = pl_module.tokenizer
        except InputError as fault:
            if pl_module.hparams["tokenizer_path"]:
                raise
            rank_zero_info(
                f"samples during training are drawn as latents, not as spectrograms, since the tokenizer is missing "
                f"({fault.where}: {fault.fault}); --model.tokenizer_path names it"
            )

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
        if self.tokenizer is not None:
            images = pl_module.generate(user_ids, indices).permute(0, 2, 3, 1).cpu().numpy()
            axes = pl_module.require_latent_space().axes
        else:
            axes = None  # of the image, which latents are not
            images = latent_images(pl_module.generate_latents(user_ids, indices))
        n = self.samples_per_user
        rows = {f"user {user}": list(images[row * n : row * n + n]) for row, user in enumerate(users)}
        log_image(trainer, "samples", spectrogram_sheet(rows, axes, height=192))
