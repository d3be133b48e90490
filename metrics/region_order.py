"""Accuracy of the predicted order of regions, before it is painted into an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

_NAMES = ("foreground_order_accuracy", "order_accuracy")


class RegionOrder(Metric):
    """Share of pairs of regions of different layers in the right order, weighted by the product of their areas.

    ``foreground_order_accuracy`` is without the background, ``order_accuracy`` with it. Both are averaged over the
    images that have such pairs; 0…1, chance is 0.5, equal heights count half.
    """

    is_differentiable = False
    full_state_update = False

    sums: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(_NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(len(_NAMES), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, heights: Tensor, orders: Tensor, areas: Tensor, mask: Tensor) -> None:
        """Add a batch.

        Args:
            heights: (B, N), larger in front.
            orders: (B, N) true orders, 0 the background.
            areas: (B, N), any unit.
            mask: (B, N) bool, False in padding.
        """
        agreement = (
            (heights[:, :, None] > heights[:, None]) + 0.5 * (heights[:, :, None] == heights[:, None])
        ).double()
        for place, valid in enumerate((mask & (orders > 0), mask)):
            counted = torch.where(valid, areas, 0).double()
            weights = counted[:, :, None] * counted[:, None] * (orders[:, :, None] > orders[:, None])
            total = weights.sum((1, 2))
            accuracy = (weights * agreement).sum((1, 2)) / total.clamp(min=1e-300)
            self.sums[place] += accuracy[total > 0].sum()
            self.images[place] += (total > 0).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return both accuracies, float64, NaN where no image was measured."""
        return dict(zip(_NAMES, self.sums / self.images, strict=True))
