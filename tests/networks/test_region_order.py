"""The region order network: padding, permutation, normalisation."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from networks.region_order import RegionOrderConfig, RegionOrderNet

CONFIG = RegionOrderConfig(region_features=6, pair_features=4, width=16, depth=2, num_heads=2)


@pytest.fixture
def network() -> RegionOrderNet:
    torch.manual_seed(0)
    return RegionOrderNet(CONFIG).eval()


def inputs(count: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    pairs = torch.tensor([[0, 1], [1, 2], [2, 4], [0, 3]])
    regions = torch.randn(1, count, 6, generator=generator)
    return regions, torch.ones(1, count, dtype=torch.bool), pairs, *torch.randn(2, 4, 4, generator=generator)


def test_padding_changes_nothing(network: RegionOrderNet) -> None:
    regions, mask, *pairs = inputs()
    heights, logits = network(regions, mask, *pairs)
    padded = torch.cat([regions, torch.full((1, 3, 6), 9.0)], 1)
    longer_mask = torch.cat([mask, torch.zeros(1, 3, dtype=torch.bool)], 1)
    padded_heights, padded_logits = network(padded, longer_mask, *pairs)
    assert_close(padded_heights[:, :5], heights)
    assert_close(padded_logits, logits)


def test_images_of_a_batch_are_independent(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    heights, _ = network(regions, mask, pairs, forward, backward)
    both = torch.cat([regions, regions.flip(1)])
    two = (torch.cat([pairs, pairs + 5]), forward.repeat(2, 1), backward.repeat(2, 1))
    assert_close(network(both, mask.repeat(2, 1), *two)[0][:1], heights)


def test_swapping_a_pair_negates_its_logit(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    heights, logits = network(regions, mask, pairs, forward, backward)
    swapped_heights, swapped_logits = network(regions, mask, pairs.flip(1), backward, forward)
    assert_close(swapped_heights, heights)
    assert_close(swapped_logits, -logits)


def test_the_order_of_regions_does_not_matter(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    permutation = torch.tensor([3, 0, 4, 1, 2])
    heights, _ = network(regions, mask, pairs, forward, backward)
    permuted, _ = network(regions[:, permutation], mask, permutation.argsort()[pairs], forward, backward)
    assert_close(permuted, heights[:, permutation])


def test_measurements_are_normalised(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    network.set_statistics(regions[0], torch.cat([forward, backward]))
    first, _ = network(regions, mask, pairs, forward, backward)
    network.set_statistics(regions[0] * 7 + 3, torch.cat([forward, backward]) * 2)
    assert_close(network(regions * 7 + 3, mask, pairs, forward * 2, backward * 2)[0], first, atol=1e-4, rtol=1e-4)


def test_measurements_far_from_all_others_are_cut_off(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    far, farther = regions.clone(), regions.clone()
    far[0, 2, 3], farther[0, 2, 3] = 1e2, 1e6
    assert_close(network(far, mask, pairs, forward, backward), network(farther, mask, pairs, forward, backward))


def test_more_neighbours_count_for_more(network: RegionOrderNet) -> None:
    regions, mask, pairs, forward, backward = inputs()
    heights, _ = network(regions, mask, pairs, forward, backward)
    repeated, _ = network(regions, mask, pairs.repeat(4, 1), forward.repeat(4, 1), backward.repeat(4, 1))
    assert (repeated - heights).abs().max() > 1e-3


def test_an_image_without_pairs(network: RegionOrderNet) -> None:
    regions, mask, *_ = inputs()
    heights, logits = network(regions, mask, torch.zeros(0, 2, dtype=torch.long), *torch.zeros(2, 0, 4))
    assert heights.shape == (1, 5)
    assert logits.shape == (0,)


@pytest.mark.parametrize("change", [{"width": 0}, {"dropout": 1.0}, {"num_heads": 3}])
def test_settings_without_meaning_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RegionOrderConfig(**{"width": 16, **change}).check()
