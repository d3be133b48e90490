from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry.affine_invariant import _middle_by_selection, _middle_by_sorting, masked_median, normalise_by_median


def random_rows(rows: int, length: int, levels: int | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(rows, length, generator=generator, dtype=dtype) - 0.4
    if levels:
        values = (values * levels).round() / levels
    # from a single masked value to all of them, odd and even counts
    order = torch.rand(rows, length, generator=generator).argsort(1)
    return values, order < torch.linspace(1, length, rows).long()[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [None, 1, 3])
def test_median_is_numpys(levels: int | None, dtype: torch.dtype) -> None:
    values, mask = random_rows(40, 60, levels, dtype)
    expected = [float(np.median(row[m].numpy())) for row, m in zip(values, mask, strict=True)]
    for outside in (0.0, torch.nan, torch.inf, -torch.inf):
        filled = values.where(mask, outside)
        torch.testing.assert_close(masked_median(filled, mask), torch.tensor(expected, dtype=dtype))
        for middle in (_middle_by_selection, _middle_by_sorting):  # for either kind of device
            found = filled.gather(1, middle(filled, mask)).mean(1)
            torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype))


def test_gradient_of_the_median_goes_to_the_middle_values() -> None:
    values = torch.tensor([[5.0, 1, 3, 2, 9], [5, 1, 3, 2, 9], [7, 7, 7, 7, 0]], requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0]]).bool()
    masked_median(values, mask).sum().backward()
    assert values.grad is not None
    assert values.grad[:2].tolist() == [[0, 0, 1, 0, 0], [0, 0, 0.5, 0.5, 0]]
    assert values.grad[2].sum() == 1


def test_normalised_images() -> None:
    values = torch.tensor([[1.0, 2, 4, 9, 99], [3, 3, 3, 3, 99], [1, 2, 3, 4, 5]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    normalised, spread = normalise_by_median(values, mask, eps=0.5)
    assert spread.tolist() == [2.5, 0, 0]
    expected = torch.zeros(3, 5)
    expected[0, :4] = torch.tensor([-2.0, -1, 1, 6]) / 3
    torch.testing.assert_close(normalised, expected)
