"""Batches of the micro-Doppler task."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from torch import Tensor


class SpectrogramBatch(TypedDict):
    """Spectrograms as 8-bit RGB.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64, as in the folder names.
        weights: (B,) float32; 0 marks a padding row.
    """

    images: Tensor
    user_ids: Tensor
    weights: Tensor


class ExtractionBatch(TypedDict):
    """Spectrograms to be encoded into one shard of latents.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64.
        names: Path of each image relative to the dataset; seed of its posterior sample.
        shard: File name of the shard.
        shard_size: Images in the shard.
    """

    images: Tensor
    user_ids: Tensor
    names: list[str]
    shard: str
    shard_size: int


class LatentBatch(TypedDict):
    """Latents as the tokenizer returned them.

    Attributes:
        latents: (B, C, H, W) float32, not normalised.
        latents_flip: Latents of the images flipped left to right, present if flipping is on.
        classes: (B,) int64, index into the ascending list of users.
        indices: (B,) int64, index in the split; seed of the validation noise.
        names: File and row of each latent, such as ``train.safetensors row 3``.
        weights: (B,) float32; 0 marks a padding row.
    """

    latents: Tensor
    latents_flip: NotRequired[Tensor]
    classes: Tensor
    indices: Tensor
    names: list[str]
    weights: Tensor


class NoisedLatentBatch(LatentBatch):
    """Latents with the noise and the times at which the velocity is predicted.

    Attributes:
        noise: (B, C, H, W), standard normal.
        times: (B,) in 0…1.
        label_draws: (B,) in 0…1, uniform, which decide in training whose label is dropped.
    """

    noise: Tensor
    times: Tensor
    label_draws: NotRequired[Tensor]


class SampleRequestBatch(TypedDict):
    """Requests for samples to draw.

    Attributes:
        user_ids: (B,) int64, as in the folder names.
        indices: (B,) int64, number of the sample among its user's, from 0.
    """

    user_ids: Tensor
    indices: Tensor
