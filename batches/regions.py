"""Batches of colour regions, for the order of regions."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class RegionBatch(TypedDict):
    """Regions of images with their measurements and true order.

    Attributes:
        regions: (B, N, F) float32, measurements of `decomposition.region_graph.REGION_FEATURES`; padded with zeros.
        mask: (B, N) bool, False in padding.
        pairs: (P, 2) int64, adjacent regions as rows of the flattened (B · N).
        pair_features: (P, G) float32, of the first region against the second, see `PAIR_FEATURES` there.
        swapped_features: (P, G) float32, of the second against the first.
        contacts: (P,) float32, share of the common boundary in all boundaries of the image.
        orders: (B, N) float32, median paint order of each region, 0 the background.
        areas: (B, N) float32, share of the image.
        names: Name of each image; "" for a row that pads the batch.
    """

    regions: Tensor
    mask: Tensor
    pairs: Tensor
    pair_features: Tensor
    swapped_features: Tensor
    contacts: Tensor
    orders: Tensor
    areas: Tensor
    names: list[str]
