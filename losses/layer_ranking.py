"""Pairwise ranking losses for the layer order of regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.processes import Processes


def region_pair_weights(orders: Tensor, areas: Tensor, mask: Tensor, with_background: bool) -> Tensor:
    """Weigh the pairs of regions of different layers by the product of their areas; each image's sum is 1.

    Args:
        orders: (B, N) true orders, 0 the background.
        areas: (B, N), any unit.
        mask: (B, N) bool, False in padding.
        with_background: Whether pairs with the background count.

    Returns:
        (B, N, N): weight of the pair (i, j) where i is in front of j, else 0.
    """
    valid = mask if with_background else mask & (orders > 0)
    areas = torch.where(valid, areas, 0)
    weights = areas[:, :, None] * areas[:, None] * (orders[:, :, None] > orders[:, None])
    return weights / weights.sum((1, 2), keepdim=True).clamp(min=1e-12)


def ranking_loss(heights: Tensor, weights: Tensor, processes: Processes = Processes()) -> Tensor:
    """Logistic loss on differences of heights, the mean over images that have a pair.

    Args:
        heights: (B, N), larger in front.
        weights: (B, N, N) of `region_pair_weights`.
        processes: Processes over whose images the mean is taken.

    Returns:
        Scalar; chance is log 2.
    """
    differences = heights[:, :, None] - heights[:, None]
    images = (weights.sum((1, 2)) > 0).sum()
    return processes.mean((weights * F.softplus(-differences)).sum(), images)


def adjacent_pair_loss(
    logits: Tensor, first_orders: Tensor, second_orders: Tensor, weights: Tensor, processes: Processes = Processes()
) -> Tensor:
    """Logistic loss of adjacent pairs (P,) of different layers, weighted, e.g. by their common boundary."""
    sign = torch.sign((first_orders - second_orders).float())
    weights = weights * (sign != 0)
    return processes.mean((weights * F.softplus(-sign * logits)).sum(), weights.sum(), min_count=1e-12)
