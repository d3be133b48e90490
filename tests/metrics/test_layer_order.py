from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import distance_transform_cdt
from scipy.stats import spearmanr
from torch import Tensor

from losses.scale_invariant import ScaleInvariantLoss
from metrics.layer_order import LayerOrder
from tests.support.two_processes import results_of_two

Array = npt.NDArray[Any]
MEASURES = (
    "scale_invariant_error",
    "order_accuracy",
    "foreground_order_accuracy",
    "neighbour_order_accuracy",
    "rank_correlation",
    "boundary_f1",
    "boundary_precision",
    "boundary_recall",
)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def illustrations(count: int, size: int = 24) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Predictions, orders, counts of layers, masks and weights; overlapping squares, noise, some rounded values."""
    generator = torch.Generator().manual_seed(7)
    orders = torch.zeros(count, size, size, dtype=torch.int32)
    counts = torch.randint(2, 9, (count,), generator=generator)
    for image, layers in zip(orders, counts.tolist(), strict=True):
        for layer in range(1, layers + 1):
            y, x = torch.randint(0, size - 6, (2,), generator=generator).tolist()
            side = int(torch.randint(2, 12, (), generator=generator))
            image[y : y + side, x : x + side] = layer
    noise = uniform(count, 1, 1, seed=1) * (uniform(count, size, size, seed=2) - 0.5)
    prediction = ((0.4 + 0.3 * orders / counts[:, None, None] + noise) * 64).round() / 64
    masks = uniform(count, size, size, seed=3) < 0.7 + 0.3 * uniform(count, 1, 1, seed=4)
    return prediction, orders, counts, masks, torch.ones(count)


def measured(*data: Tensor, batch: int = 100, **settings: Any) -> dict[str, float]:
    metric = LayerOrder(**settings)
    for part in zip(*(x.split(batch) for x in data), strict=True):
        metric.update(*part)
    values = metric.compute()
    assert {value.dtype for value in values.values()} == {torch.float64}
    return {name: float(value) for name, value in values.items()}


def constructed(*rows: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One small image: orders, count of layers, mask and weight."""
    orders = torch.tensor(rows, dtype=torch.int32)[None]
    return orders, orders.amax((1, 2)).clamp(min=1).long(), torch.ones(orders.shape, dtype=torch.bool), torch.ones(1)


def pairs(image: tuple[Tensor, ...], lowest: int = 0) -> list[float]:
    """1, 0.5 or 0 for every pair of pixels of different layers, one image at a time."""
    prediction, orders, _, masks, _ = (x[0].numpy() for x in image)
    p, o = prediction[masks], orders[masks]
    p, o = p[o >= lowest], o[o >= lowest]
    first, second = np.nonzero(o[:, None] > o[None])
    scores: list[float] = ((p[first] > p[second]) + 0.5 * (p[first] == p[second])).tolist()
    return scores


def one_by_one(data: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    return [tuple(x[i : i + 1] for x in data) for i in range(len(data[0]))]


@pytest.mark.parametrize(("name", "lowest"), [("order_accuracy", 0), ("foreground_order_accuracy", 1)])
def test_order_accuracy_converges_to_that_over_all_pairs(name: str, lowest: int) -> None:
    for image in one_by_one(illustrations(12)):
        all_pairs = pairs(image, lowest)
        if not all_pairs:
            continue
        exact = float(np.mean(all_pairs))
        deviation = float(np.std(all_pairs))
        assert measured(*image, pairs_per_image=len(all_pairs))[name] == pytest.approx(exact)  # each drawn once
        for count in (100, 2000, 50_000):
            found = measured(*image, pairs_per_image=count)[name]
            assert abs(found - exact) <= 4 * deviation / math.sqrt(count) + 1e-9


def test_order_accuracy_of_known_images() -> None:
    truth = constructed([0, 0, 0, 1], [0, 0, 0, 2])
    values = measured(truth[0] / 2, *truth)
    assert (values["order_accuracy"], values["foreground_order_accuracy"]) == (1, 1)
    assert values["neighbour_order_accuracy"] == 1
    swapped = measured(torch.tensor([[[0.0, 0, 0, 0.9], [0, 0, 0, 0.8]]]), *truth, pairs_per_image=13)
    assert swapped["order_accuracy"] == pytest.approx(12 / 13)
    assert swapped["foreground_order_accuracy"] == 0
    assert swapped["neighbour_order_accuracy"] == pytest.approx(2 / 3)
    assert measured(-truth[0] / 2, *truth)["order_accuracy"] == 0
    constant = measured(torch.full((1, 2, 4), 0.3), *truth, min_region_pixels=1)
    for name in ("order_accuracy", "foreground_order_accuracy", "neighbour_order_accuracy"):
        assert constant[name] == 0.5
    assert (constant["rank_correlation"], constant["boundary_f1"]) == (0, 0)


def test_chance_is_one_half() -> None:
    _, *truth = illustrations(12)
    values = measured(uniform(12, 24, 24, seed=9), *truth)
    assert values["order_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert values["neighbour_order_accuracy"] == pytest.approx(0.5, abs=0.05)


def test_neighbours_are_compared_where_both_are_valid() -> None:
    data = illustrations(6)
    shares = []
    for p, o, _, m, _ in zip(*data, strict=True):
        points = []
        for y, x in itertools.product(range(24), range(24)):
            for below, right in ((y + 1, x), (y, x + 1)):
                if below < 24 and right < 24 and m[y, x] and m[below, right] and o[y, x] != o[below, right]:
                    sign = (p[below, right] - p[y, x]).sign() * (o[below, right] - o[y, x]).sign()
                    points.append((1 + float(sign)) / 2)
        shares.append(np.mean(points))
    assert measured(*data)["neighbour_order_accuracy"] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("least", [1, 16])
def test_rank_correlation_is_spearmans(least: int) -> None:
    prediction, *truth = illustrations(12)
    prediction = (prediction * 4).round() / 4  # so that some layers tie
    prediction[:6] = prediction[:6].where(truth[0][:6] != 2, 0.5).where(truth[0][:6] != 3, 0.5)
    expected, tied = [], 0
    for p, o, _, m, _ in zip(*(x.numpy() for x in (prediction, *truth)), strict=True):
        layers = [k for k in np.unique(o[m]) if (o[m] == k).sum() >= least]
        means = [p[m & (o == k)].astype(np.float64).mean() for k in layers]
        tied += len(set(means)) < len(means)
        if len(layers) > 1:
            expected.append(spearmanr(layers, means).statistic if len(set(means)) > 1 else 0)
    values = measured(prediction, *truth, min_region_pixels=least)
    assert tied
    assert values["rank_correlation"] == pytest.approx(np.mean(expected))
    assert values["images_with_regions"] == len(expected)


def test_small_layers_are_not_regions() -> None:
    truth = constructed([0, 0, 0, 0], [1, 1, 1, 2], [1, 1, 1, 2])
    prediction = truth[0].float() * torch.tensor([1, 1, 1, -1])  # only the small layer is wrong
    assert measured(prediction, *truth, min_region_pixels=3)["rank_correlation"] == 1
    assert measured(prediction, *truth, min_region_pixels=2)["rank_correlation"] == pytest.approx(-0.5)
    assert math.isnan(measured(prediction, *truth, min_region_pixels=5)["rank_correlation"])


def boundaries_by_hand(values: Array, mask: Array, threshold: float) -> Array:
    found = np.zeros(mask.shape, bool)
    for y, x in itertools.product(*map(range, mask.shape)):
        for below, right in ((y + 1, x), (y, x + 1)):
            if below < len(mask) and right < len(mask[0]) and mask[y, x] and mask[below, right]:
                found[y, x] |= abs(values[below, right] - values[y, x]) > threshold
    return found


def share_near(pixels: Array, others: Array, tolerance: int) -> float:
    if not pixels.any() or not others.any():
        return 0.0
    return float(np.mean(distance_transform_cdt(~others, "chessboard")[pixels] <= tolerance))


@pytest.mark.parametrize(("tolerance", "step"), [(0, 0.5), (1, 1.5), (2, 0.5), (3, 3.0)])
def test_boundaries_agree_with_distances(tolerance: int, step: float) -> None:
    data = illustrations(8)
    data[0][0] = 0.5  # nothing predicted
    rows = []
    for p, o, _, m, _ in zip(*(x.double().numpy() for x in data), strict=True):
        m = m > 0
        true = boundaries_by_hand(o, m, 0)
        predicted = boundaries_by_hand(p, m, step * p[m].std() / o[m].std())
        precision, recall = share_near(predicted, true, tolerance), share_near(true, predicted, tolerance)
        rows.append((2 * precision * recall / max(precision + recall, 1e-9), precision, recall))
    values = measured(*data, boundary_tolerance=tolerance, boundary_step=step)
    found = [values[f"boundary_{name}"] for name in ("f1", "precision", "recall")]
    assert found == pytest.approx(np.mean(rows, axis=0).tolist())
    assert 0 < rows[1][0] < 1


def test_a_shifted_boundary_is_found_within_the_tolerance() -> None:
    orders = torch.zeros(1, 20, 20, dtype=torch.int32)
    orders[:, :, 10:] = 1
    truth = (orders, torch.ones(1, dtype=torch.long), orders >= 0, torch.ones(1))
    for shift, score in ((0, 1), (2, 1), (3, 0)):
        shifted = (torch.arange(20) >= 10 + shift).float().expand(1, 20, 20)
        assert measured(shifted, *truth)["boundary_f1"] == score
    twice = torch.zeros(1, 20, 20)
    twice[:, :, 5:10] = 1  # one true edge, one false
    values = measured(twice, *truth)
    assert (values["boundary_precision"], values["boundary_recall"]) == (0.5, 1)
    assert values["boundary_f1"] == pytest.approx(2 / 3)


def test_the_error_equals_the_loss() -> None:
    prediction, orders, counts, masks, weights = illustrations(6)
    loss = ScaleInvariantLoss()(prediction, orders / counts[:, None, None], masks, weights)
    found = measured(prediction, orders, counts, masks, weights)
    assert found["scale_invariant_error"] == pytest.approx(float(loss["scale_invariant"]), rel=1e-5)
    assert found["images"] == float(loss["images_with_order"])


def test_batches_padding_and_invalid_pixels_do_not_matter() -> None:
    data = illustrations(8)
    expected = measured(*data)
    for batch in (1, 3):
        assert measured(*data, batch=batch) == pytest.approx(expected, rel=1e-12)
    prediction, orders, counts, masks, weights = (torch.cat([x, x[:2]]) for x in data)
    weights[8:], counts[8:] = 0, 0
    orders[9], orders[:8] = 1000, orders[:8].where(masks[:8], -5)
    prediction = prediction.where(masks, torch.nan)
    prediction[8] = torch.nan
    assert measured(prediction[:, None], orders, counts, masks, weights) == pytest.approx(expected, rel=1e-12)
    assert measured(3 * data[0] - 1, *data[1:]) == pytest.approx(expected, rel=1e-3)


def test_images_without_a_metric_are_left_out_and_counted() -> None:
    prediction, orders, counts, masks, weights = illustrations(5)
    expected = measured(*(x[:1] for x in (prediction, orders, counts, masks, weights)))
    orders[1], masks[2] = 1, False  # one layer; nothing known
    orders[3] = orders[3].clamp(max=1)  # no two layers of the foreground
    weights[4] = 0
    masks[3, ::2], masks[3, :, ::2] = False, False  # no neighbours
    values = measured(prediction, orders, counts, masks, weights)
    assert {name: value for name, value in values.items() if name.startswith("images")} == {
        "images": 2,
        "images_without_order": 2,
        "images_with_foreground_order": 1,
        "images_with_regions": 2,
        "images_with_boundaries": 1,
    }
    for name in ("foreground_order_accuracy", "neighbour_order_accuracy", "boundary_f1", "boundary_recall"):
        assert values[name] == pytest.approx(expected[name])


def test_no_images_and_wrong_arguments() -> None:
    prediction, *truth = illustrations(3)
    empty = measured(prediction, *truth[:3], 0 * truth[3])
    assert all(math.isnan(empty[name]) for name in MEASURES)
    assert not any(value for name, value in empty.items() if name.startswith("images"))
    faulty = measured(torch.full_like(prediction, torch.nan), *truth)  # a fault of the network is not hidden
    assert math.isnan(faulty["scale_invariant_error"])
    assert math.isnan(faulty["rank_correlation"])
    for name in ("order_accuracy", "foreground_order_accuracy", "neighbour_order_accuracy", "boundary_f1"):
        assert faulty[name] == 0
    with pytest.raises(ValueError, match=r"\(3, 24, 23\)"):
        LayerOrder().update(prediction[:, :, 1:], *truth)
    with pytest.raises(ValueError, match="must be at least 1"):
        LayerOrder(pairs_per_image=0)


def part_of(rank: int) -> list[dict[str, float]]:
    results = []
    for first, last in (((0, 6), (6, 8))[rank], ((0, 8), (8, 8))[rank]):  # uneven; nothing at all in one
        results.append(measured(*(x[first:last] for x in illustrations(8)), batch=2) if last > first else nothing())
    return results


def nothing() -> dict[str, float]:
    return {name: float(value) for name, value in LayerOrder().compute().items()}


@pytest.mark.slow
def test_two_processes_compute_the_same_as_one(tmp_path: Path) -> None:
    expected = measured(*illustrations(8))
    for results in results_of_two(part_of, tmp_path):
        assert results == [pytest.approx(expected, rel=1e-12)] * 2
    assert measured(*(x[:6] for x in illustrations(8))) != pytest.approx(expected, rel=1e-3)  # a part would differ
