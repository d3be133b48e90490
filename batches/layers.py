"""Batches of the layer index task."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class LayerBatch(TypedDict):
    """Illustrations with the layer that painted each pixel, stretched to S × S pixels.

    The layer index, background 0 and foremost 1, is ``orders / layer_counts``.

    Attributes:
        images: (B, 3, S, S) uint8, RGB.
        orders: (B, S, S) int32, paint order of the topmost layer: 0 the background, 1 … n from below.
        layer_counts: (B,) int64, number n of layers of each image, at least 1; a crop keeps that of the whole image.
        masks: (B, S, S) bool, where the order is known.
        names: Name of each sample, such as ``animals/cat``; "" for a row that pads the batch.
        weights: (B,) float32; 0 for a row that pads the batch.
    """

    images: Tensor
    orders: Tensor
    layer_counts: Tensor
    masks: Tensor
    names: list[str]
    weights: Tensor


class IllustrationBatch(TypedDict):
    """One image to decompose into layers.

    Attributes:
        image: (H, W, 4) uint8, RGBA, not premultiplied, at the file's size.
        rgb: (3, H, W) uint8, the image pasted on white.
        name: Name of the image, distinct within a run and valid as a folder name.
    """

    image: Tensor
    rgb: Tensor
    name: str
