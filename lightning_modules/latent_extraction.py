"""Encoding of spectrograms to latents with a frozen tokenizer."""

from __future__ import annotations

import zlib
from typing import Literal

import torch
from lightning import LightningModule
from torch import Tensor

from batches.microdoppler import ExtractionBatch
from formats.errors import InputError
from formats.ranges import AT_LEAST_0, check_ranges
from networks.tokenizers import Posterior, Tokenizer, load_tokenizer, to_unit
from networks.transport import seeded_noise


class LatentExtractionModule(LightningModule):
    """Encode images; ``predict`` only.

    Args:
        tokenizer_path: A VA-VAE file, a folder of a diffusers KL autoencoder, or a LappedPCA file. None leaves it to
            ``LatentShardWriter``, which fits LappedPCA, a linear code, to the training images.
        posterior: ``mean``, or ``sample`` with one seeded draw per image.
        seed: Seed of the draws; a draw depends only on it and the image's name.
        flip: Also encode the images flipped left to right. On a spectrogram that reverses time.
    """

    def __init__(
        self,
        tokenizer_path: str | None = None,
        posterior: Literal["mean", "sample"] = "mean",
        seed: int = 0,
        flip: bool = False,
    ) -> None:
        super().__init__()
        check_ranges("--model", {"seed": seed}, {"seed": AT_LEAST_0})
        self.tokenizer_path, self.posterior, self.seed, self.flip = tokenizer_path, posterior, seed, flip
        self.tokenizer: Tokenizer | None = None

    def setup(self, stage: str) -> None:
        """Load the tokenizer."""
        self.load_tokenizer()

    def load_tokenizer(self) -> Tokenizer:
        """Return the tokenizer, loaded on the first call.

        Raises:
            InputError: No tokenizer is named, or its file cannot be used.
        """
        if self.tokenizer is None:
            if self.tokenizer_path is None:
                remedy = "Name a tokenizer file, or add the callback LatentShardWriter, which fits one."
                raise InputError("--model.tokenizer_path", "is not set", remedy)
            self.tokenizer = load_tokenizer(self.tokenizer_path)
        return self.tokenizer

    def _draw(self, posterior: Posterior, names: list[str]) -> Tensor:
        if self.posterior == "mean":
            return posterior.mode().float()
        shape = tuple(posterior.mean.shape[1:])
        noise = torch.stack([seeded_noise(shape, self.seed, zlib.crc32(name.encode())) for name in names])
        return posterior.sample(noise=noise.to(posterior.mean)).float()

    def predict_step(self, batch: ExtractionBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return latents (B, C, h, w) float32, and ``latents_flip`` of the flipped images if ``flip`` is set.

        Raises:
            InputError: Latents are not finite.
        """
        tokenizer, images = self.load_tokenizer(), to_unit(batch["images"])
        latents = {"latents": self._draw(tokenizer.encode(images), batch["names"])}
        if self.flip:
            flipped = tokenizer.encode(images.flip(-1))
            latents["latents_flip"] = self._draw(flipped, [f"{name} flipped" for name in batch["names"]])
        if not all(bool(part.isfinite().all()) for part in latents.values()):
            fault = "this image, or a later one in its batch, gives latents that are not finite"
            raise InputError(batch["names"][0], fault, "Use --trainer.precision 32-true.")
        return latents
