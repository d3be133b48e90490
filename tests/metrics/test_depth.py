from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.depth import DepthErrors
from tests.support.two_processes import results_of_two


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def scenes(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions, truths, masks and weights; one image without depth, one padding row that is far off."""
    true = 1 + 4 * uniform(count, 2, 6, 7)
    predicted = 1.3 * true * (0.7 + 0.6 * uniform(count, 2, 6, 7, seed=1))
    mask = uniform(count, 2, 6, 7, seed=2) < uniform(count, 2, 1, 1, seed=3)
    mask[:, :, 0, 0] = True
    mask[1, 0] = False
    weights = torch.ones(count)
    weights[2], predicted[2] = 0, 1e6
    return predicted, true, mask, weights


def by_hand(predicted: Tensor, true: Tensor, mask: Tensor, weights: Tensor) -> dict[str, float]:
    rows: list[list[float]] = []
    skipped = 0
    for row in range(len(weights)):
        for view in range(predicted.shape[1]):
            if weights[row] == 0:
                continue
            valid = mask[row, view].numpy()
            p, t = (x[row, view].double().numpy()[valid] for x in (predicted, true))
            if not len(p):
                skipped += 1
                continue
            values = []
            for q in (p, p * np.median(t) / np.median(p)):
                values += [np.mean(abs(q - t) / t), np.sqrt(np.mean((q - t) ** 2))]
                values += [np.mean(np.maximum(q / t, t / q) < 1.25)]
            rows.append(values)
    names = [f"{name}{suffix}" for suffix in ("", "_scaled") for name in ("abs_rel", "rmse", "delta_1.25")]
    means = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
    return {**means, "images": len(rows), "images_without_depth": skipped}


def measured(*scenes: Tensor, batch: int = 100) -> dict[str, float]:
    metric = DepthErrors()
    for part in zip(*(x.split(batch) for x in scenes), strict=True):
        metric.update(*part)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_errors_agree_with_their_definitions(batch: int) -> None:
    data = scenes(8)
    expected = by_hand(*data)
    assert (expected["images"], expected["images_without_depth"]) == (13, 1)
    assert measured(*data, batch=batch) == pytest.approx(expected, rel=1e-5)


def test_known_errors() -> None:
    true = torch.tensor([1.0, 2, 4, 0]).view(1, 1, 2, 2)
    mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)  # a true depth of 0 is invalid regardless of the mask
    values = measured(torch.tensor([2.0, 4, 8, 9]).view(1, 1, 2, 2), true, mask, torch.ones(1))
    assert values["abs_rel"] == pytest.approx(1)
    assert values["rmse"] == pytest.approx(math.sqrt((1 + 4 + 16) / 3))
    assert values["delta_1.25"] == 0
    assert (values["abs_rel_scaled"], values["rmse_scaled"], values["delta_1.25_scaled"]) == (0, 0, 1)
    values = measured(torch.tensor([1.24, 2.6, -4, 9]).view(1, 1, 2, 2), true, mask, torch.ones(1))
    assert values["delta_1.25"] == pytest.approx(1 / 3)  # the negative depth is not within a factor of the truth


def test_images_weigh_the_same_however_many_pixels_they_have() -> None:
    true = torch.ones(2, 1, 4, 4)
    predicted = torch.tensor([1.5, 1.1]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    mask[1].view(-1)[1:] = False
    assert measured(predicted, true, mask, torch.ones(2))["abs_rel"] == pytest.approx(0.3)


def test_invalid_values_do_not_matter() -> None:
    predicted, true, mask, weights = scenes(6)
    expected = measured(predicted, true, mask, weights)
    predicted, true = predicted.masked_fill(~mask, torch.nan), true.masked_fill(~mask, torch.inf)
    assert measured(predicted, true, mask, weights) == expected
    assert measured(predicted, true, torch.ones_like(mask), weights)["images"] == expected["images"]


def test_no_images_and_wrong_arguments() -> None:
    predicted, true, mask, weights = scenes(4)
    empty = measured(predicted, true, mask, 0 * weights)
    assert empty["images"] == empty["images_without_depth"] == 0
    assert math.isnan(empty["abs_rel"])
    nothing = measured(predicted, true, mask & False, weights)
    assert math.isnan(nothing["rmse_scaled"])
    assert nothing["images_without_depth"] == 6
    predicted[0, 0, 0, 0] = torch.nan  # a fault of the network is not hidden
    faulty = measured(predicted, true, mask, weights)
    assert math.isnan(faulty["abs_rel"])
    assert 0 <= faulty["delta_1.25"] <= 1
    with pytest.raises(ValueError, match=r"\(4, 2, 6, 7, 1\)"):
        DepthErrors().update(predicted[..., None], true, mask, weights)


def part_of(rank: int) -> list[dict[str, float]]:
    results = []
    for first, last in (((0, 6), (6, 8))[rank], ((0, 8), (8, 8))[rank]):  # uneven; nothing at all in one
        metric = DepthErrors()
        for part in zip(*(x[first:last].split(2) for x in scenes(8)), strict=True):
            if len(part[0]):
                metric.update(*part)
        results.append({name: float(value) for name, value in metric.compute().items()})
    return results


@pytest.mark.slow
def test_two_processes_compute_the_same_as_one(tmp_path: Path) -> None:
    expected = measured(*scenes(8))
    for results in results_of_two(part_of, tmp_path):
        assert results == [pytest.approx(expected, rel=1e-12)] * 2
    assert measured(*(x[:6] for x in scenes(8))) != pytest.approx(expected, rel=1e-3)  # a part alone would differ
