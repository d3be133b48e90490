"""Losses over the batches of several processes: the average of their parts is the loss of the whole batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from batches.pair import PairBatch
from losses.layer_ranking import adjacent_pair_loss, ranking_loss
from losses.pair_objective import PairLoss, PairPredictions
from losses.processes import Processes, nth_largest
from losses.scale_invariant import ScaleInvariantLoss
from tests.support.batches import pair_batch
from tests.support.two_processes import results_of_two

Result = tuple[dict[str, Tensor], list[Tensor]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nth_largest_is_that_of_a_sort(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(500, generator=generator, dtype=dtype) * 10.0 ** torch.randint(
        -9, 9, (500,), generator=generator
    )
    values[::7] = values[0]  # ties
    values[3], values[4] = 0.0, -0.0
    mask = torch.rand(500, generator=generator) < 0.8
    ascending = values[mask].sort(descending=True).values
    for rank in (0, 1, 17, 200, len(ascending) - 1):
        assert nth_largest(values, mask, torch.tensor(rank), Processes())[0] == ascending[rank]


def pair_losses(rows: slice, processes: Processes) -> Result:
    """The terms and the gradients of predictions, for some of four pairs with different numbers of valid pixels."""
    torch.manual_seed(0)
    batch = cast(dict[str, Any], pair_batch(4).copy())
    batch |= {key: v.double() for key, v in batch.items() if isinstance(v, Tensor) and v.is_floating_point()}
    batch["point_masks"] = batch["point_masks"].clone()
    batch["point_masks"][1, :, 5:] = False
    batch["point_masks"][2, :, 9:] = False
    shape = batch["depths"].shape
    dense = [torch.rand(*shape, 1), 1 + torch.rand(shape), torch.rand(*shape, 3), 1 + torch.rand(shape)]
    leaves = [value.double()[rows].clone().requires_grad_() for value in dense]
    leaves.append(torch.rand(3, 4, 2, 9).double()[:, rows].clone().requires_grad_())
    depth, depth_conf, points, points_conf, encodings = leaves
    predictions: PairPredictions = {
        "depth": depth,
        "depth_conf": depth_conf,
        "world_points": points,
        "world_points_conf": points_conf,
        "pose_enc_list": list(encodings),
    }
    own = cast(PairBatch, {key: value[rows] for key, value in batch.items()})
    terms = PairLoss()(predictions, own, processes)
    gradients = torch.autograd.grad(terms["loss_objective"], leaves)
    return {name: value.detach() for name, value in terms.items()}, [*gradients[:4], gradients[4].transpose(0, 1)]


def layer_losses(rows: slice, processes: Processes) -> Result:
    """The same for four images, one without an order and one that only pads."""
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 4, 16, 16, generator=generator, dtype=torch.float64)
    target = (target * 4).round()
    target[1] = 1.0
    mask, weights = torch.rand(4, 16, 16, generator=generator) < 0.7, torch.tensor([1.0, 1.0, 1.0, 0.0])
    own = prediction[rows].clone().requires_grad_()
    terms = ScaleInvariantLoss(edge_weight=0.1)(own, target[rows], mask[rows], weights[rows], processes)
    return {name: value.detach() for name, value in terms.items()}, list(torch.autograd.grad(terms["loss"], [own]))


def region_losses(rows: slice, processes: Processes) -> Result:
    """Ranking losses of four images of which one has no pair; the last pairs have most of the weight."""
    generator = torch.Generator().manual_seed(0)
    heights = torch.randn(4, 5, generator=generator, dtype=torch.float64)[rows].clone().requires_grad_()
    weights = torch.rand(4, 5, 5, generator=generator, dtype=torch.float64)
    weights[1] = 0
    orders = torch.arange(20.0).view(4, 5)
    terms = {
        "ranking": ranking_loss(heights, weights[rows], processes),
        "adjacent": adjacent_pair_loss(
            heights.flatten(), orders[rows].flatten(), orders[rows].flip(1).flatten(), orders[rows].flatten(), processes
        ),
    }
    gradient = torch.autograd.grad(terms["ranking"] + terms["adjacent"], [heights])
    return {name: value.detach() for name, value in terms.items()}, list(gradient)


LOSSES = {"pair": pair_losses, "layers": layer_losses, "regions": region_losses}


def of_half(rank: int) -> dict[str, Result]:
    rows = slice(2 * rank, 2 * rank + 2)
    return {name: loss(rows, Processes.all()) for name, loss in LOSSES.items()}


def test_the_average_of_two_processes_is_the_loss_of_the_whole_batch(tmp_path: Path) -> None:
    pair_batch(4)  # kept for the forks
    halves = results_of_two(of_half, tmp_path)
    for name, loss in LOSSES.items():
        whole, gradients = loss(slice(None), Processes())
        for term, value in whole.items():
            average = (halves[0][name][0][term] + halves[1][name][0][term]) / 2
            assert_close(average, value, rtol=1e-9, atol=1e-12, msg=f"{name}: {term}")
        for position, gradient in enumerate(gradients):
            parts = torch.cat([half[name][1][position] / 2 for half in halves])
            assert_close(parts, gradient, rtol=1e-9, atol=1e-12, msg=f"{name}: gradient {position}")
        assert all(math.isfinite(value) for value in whole.values())
