"""Spectrograms to latents with a frozen tokenizer."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor

from batches.microdoppler import ExtractionBatch
from formats.errors import InputError
from networks.tokenizers import LappedPCA, Posterior, Tokenizer, load_tokenizer, to_unit

IMAGES_TO_FIT = 512  # of the training split, evenly spread over the users; more change a linear code little


class LatentExtractionModule(LightningModule):
    """Encode images; ``predict`` only.

    Args:
        tokenizer_path: A VA-VAE file, a folder of a diffusers KL autoencoder, or a LappedPCA file. None fits
            LappedPCA, a linear code, on the training images and keeps it next to the latents.
        posterior: ``mean``, or ``sample`` with one seeded draw per image.
        seed: Of the draws; a draw depends on it and the image's name alone.
        flip: Encode the images flipped left to right as well. On a spectrogram that reverses time.
        latent_channels: Latent channels of LappedPCA where it is fitted here, at least 5.
    """

    ARCHITECTURE = ()  # it has no weights of its own

    def __init__(
        self,
        tokenizer_path: str | None = None,
        posterior: Literal["mean", "sample"] = "mean",
        seed: int = 0,
        flip: bool = False,
        latent_channels: int = 32,
    ) -> None:
        super().__init__()
        self.tokenizer_path, self.posterior, self.seed = tokenizer_path, posterior, seed
        self.flip, self.latent_channels = flip, latent_channels
        self.tokenizer: Tokenizer | None = None

    def load_tokenizer(self, datamodule: Any) -> None:
        """Load the tokenizer, or fit one on the first process and load it on all.

        Args:
            datamodule: A ``SpectrogramDataModule`` that is set up.

        Raises:
            InputError: The file cannot be used, or the images' sides are no multiples of its patch.
        """
        if self.tokenizer is not None:
            return
        path = self.tokenizer_path
        if path is None:
            path = str(datamodule.output_dir / "tokenizer.safetensors")
            if self.trainer.is_global_zero and not Path(path).is_file():
                images = datamodule.training_images(limit=IMAGES_TO_FIT)
                LappedPCA.fit(images, self.latent_channels).save(path)
            self.trainer.strategy.barrier("tokenizer")
        self.tokenizer_path = path
        self.tokenizer = load_tokenizer(path)
        self.tokenizer.latent_shape(datamodule.image_size, datamodule.image_size)

    def setup(self, stage: str) -> None:
        """Load the tokenizer where no callback has asked for it yet."""
        self.load_tokenizer(self.trainer.datamodule)  # type: ignore[attr-defined]

    def _draw(self, posterior: Posterior, names: list[str]) -> Tensor:
        if self.posterior == "mean":
            return posterior.mode().float()
        shape = posterior.mean.shape[1:]
        seeds = [zlib.crc32(name.encode()) + (self.seed << 32) for name in names]
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        return posterior.sample(noise=noise.to(posterior.mean)).float()

    def predict_step(self, batch: ExtractionBatch, batch_idx: int) -> dict[str, Tensor]:
        """Latents (B, C, h, w) float32 of the batch; ``latents_flip`` of the flipped images where asked for."""
        assert self.tokenizer is not None
        images = to_unit(batch["images"])
        latents = {"latents": self._draw(self.tokenizer.encode(images), batch["names"])}
        if self.flip:
            flipped = self.tokenizer.encode(images.flip(-1))
            latents["latents_flip"] = self._draw(flipped, [f"{name} flipped" for name in batch["names"]])
        if not all(bool(part.isfinite().all()) for part in latents.values()):
            bad = next(iter(batch["names"]))
            raise InputError(bad, "gives latents that are not finite, it or one after it", "Use 32-true precision.")
        return latents
