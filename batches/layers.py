"""Batches of the layer index task."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class LayerBatch(TypedDict):
    """Illustrations with the layer that painted each pixel, stretched to the network's square of S × S pixels.

    The layer index, background 0 and foremost 1, is ``orders / layer_counts``.

    Attributes:
        images: (B, 3, S, S) uint8, RGB.
        orders: (B, S, S) int32, paint order of the topmost layer: 0 the background, 1 … n from below.
        layer_counts: (B,) int64, n of each image, at least 1; a crop keeps the n of the whole image.
        masks: (B, S, S) bool, where the order is known.
        names: Of each sample, such as ``animals/cat``; "" for a row that only fills up a batch.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    images: Tensor
    orders: Tensor
    layer_counts: Tensor
    masks: Tensor
    names: list[str]
    weights: Tensor


class IllustrationBatch(TypedDict):
    """A picture to decompose, whose layers nobody knows.

    Attributes:
        image: (H, W, 4) uint8, RGBA, not premultiplied, at the file's size.
        name: Of the picture, distinct among those of a run, fit for a folder's name.
    """

    image: Tensor
    name: str
