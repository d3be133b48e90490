"""Ranking losses of regions."""

from __future__ import annotations

import math

import pytest
import torch

from losses.layer_ranking import adjacent_pair_loss, ranking_loss, region_pair_weights

ORDERS = torch.tensor([[0.0, 1.0, 2.0, 7.0]])
AREAS = torch.tensor([[5.0, 2.0, 1.0, 9.0]])
MASK = torch.tensor([[True, True, True, False]])


def test_weights_are_products_of_areas_and_sum_to_one() -> None:
    weights = region_pair_weights(ORDERS, AREAS, MASK, with_background=True)
    expected = torch.zeros(1, 4, 4)
    expected[0, 1, 0], expected[0, 2, 0], expected[0, 2, 1] = 10 / 17, 5 / 17, 2 / 17
    torch.testing.assert_close(weights, expected)


def test_the_background_can_be_left_out() -> None:
    weights = region_pair_weights(ORDERS, AREAS, MASK, with_background=False)
    assert weights.nonzero().tolist() == [[0, 2, 1]]
    assert weights[0, 2, 1] == 1


def test_the_loss_is_log_2_by_chance_and_falls_with_the_right_order() -> None:
    weights = region_pair_weights(ORDERS, AREAS, MASK, with_background=True)
    assert ranking_loss(torch.zeros(1, 4), weights).item() == pytest.approx(math.log(2))
    right, wrong = torch.tensor([[0.0, 1, 2, 0]]), torch.tensor([[2.0, 1, 0, 0]])
    assert ranking_loss(right, weights) < math.log(2) < ranking_loss(wrong, weights)


def test_an_image_without_order_does_not_change_the_mean() -> None:
    weights = region_pair_weights(ORDERS, AREAS, MASK, with_background=True)
    both = torch.cat([weights, torch.zeros_like(weights)])
    heights = torch.tensor([[0.0, 1, 2, 0]])
    torch.testing.assert_close(ranking_loss(heights.repeat(2, 1), both), ranking_loss(heights, weights))


def test_pairs_of_one_layer_do_not_count() -> None:
    logits, weights = torch.tensor([2.0, -50.0]), torch.ones(2)
    loss = adjacent_pair_loss(logits, torch.tensor([1.0, 3.0]), torch.tensor([0.0, 3.0]), weights)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
