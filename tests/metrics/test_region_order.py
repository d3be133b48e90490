"""Accuracy of the order of regions."""

from __future__ import annotations

import pytest
import torch

from metrics.region_order import RegionOrder


def test_accuracies_with_and_without_background() -> None:
    metric = RegionOrder()
    orders, areas = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[6.0, 1, 2, 1]])
    heights = torch.tensor([[0.0, 2.0, 1.0, 2.0]])  # 1 above 2: wrong; 1 and 3 equal: half; 3 above 2: right
    metric.update(heights, orders, areas, torch.ones(1, 4, dtype=torch.bool))
    values = metric.compute()
    assert values["foreground_order_accuracy"].item() == pytest.approx((0.5 * 1 + 2) / (2 + 1 + 2))
    assert values["order_accuracy"].item() == pytest.approx((24 + 2.5) / (24 + 5))


def test_padding_and_images_without_pairs_do_not_count() -> None:
    metric = RegionOrder()
    orders = torch.tensor([[0, 1, 2], [0, 1, 9]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    metric.update(torch.tensor([[0.0, 1, 2], [0, 1, 0]]), orders, torch.ones(2, 3), mask)
    assert metric.images.tolist() == [1, 2]
    assert metric.compute()["foreground_order_accuracy"] == 1
