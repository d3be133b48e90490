"""Batches of the micro-Doppler task."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from torch import Tensor


class SpectrogramBatch(TypedDict):
    """Spectrograms as 8-bit RGB.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64, as in the folder names.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    images: Tensor
    user_ids: Tensor
    weights: Tensor


class ExtractionBatch(TypedDict):
    """Spectrograms on their way into one shard of latents.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64.
        names: Path of each image relative to the data set; seeds its posterior sample.
        shard: File name of the shard.
        shard_size: Images in the shard.
    """

    images: Tensor
    user_ids: Tensor
    names: list[str]
    shard: str
    shard_size: int


class LatentBatch(TypedDict):
    """Latents as the tokenizer gave them.

    Attributes:
        latents: (B, C, H, W) float32, not normalised.
        latents_flip: The same of the images flipped left to right, where flipping is on.
        classes: (B,) int64, index into the ascending list of users.
        indices: (B,) int64, place in the split; seeds validation noise.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    latents: Tensor
    latents_flip: NotRequired[Tensor]
    classes: Tensor
    indices: Tensor
    weights: Tensor


class SampleRequestBatch(TypedDict):
    """Samples to draw.

    Attributes:
        user_ids: (B,) int64, as in the folder names.
        indices: (B,) int64, number of the sample among its user's, from 0.
    """

    user_ids: Tensor
    indices: Tensor
