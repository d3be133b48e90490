"""Windows and sizes keep the principal point at the centre."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.transforms import Window, centred_extent, centred_window, crop, output_size, resize_nearest

SIZE = (120, 160)


@pytest.mark.parametrize(
    ("aspect", "size", "expected"),
    [
        (0.92, 518, (476, 518)),
        (1 / 0.92, 518, (518, 476)),
        (1.0, 518, (518, 518)),
        (0.75, 518, (392, 518)),
        (0.001, 56, (14, 56)),
        (100, 56, (56, 14)),
    ],
)
def test_output_sizes(aspect: float, size: int, expected: tuple[int, int]) -> None:
    assert output_size(aspect, size) == expected


@pytest.mark.parametrize("size", [(120, 160), (161, 119)])
@pytest.mark.parametrize("centre", [(60.0, 70.2), (59.5, 59.5), (79.5, 59.5), (40.25, 100.75)])
def test_windows_are_centred_and_cannot_grow(size: tuple[int, int], centre: tuple[float, float]) -> None:
    window = centred_window(size, centre)
    middle = np.array([window.left + (window.width - 1) / 2, window.top + (window.height - 1) / 2])
    assert np.abs(middle - centre).max() <= 0.5
    assert window.top >= 0
    assert window.left >= 0
    assert window.top + window.height <= size[0]
    assert window.left + window.width <= size[1]
    reach = [min(centre[1], size[0] - 1 - centre[1]), min(centre[0], size[1] - 1 - centre[0])]
    assert window.height > 2 * reach[0]
    assert window.width > 2 * reach[1]
    for aspect in (0.5, 1.0, 2.0):
        inner = centred_window(size, centre, aspect, scale=0.9)
        assert abs(inner.height - aspect * inner.width) <= 0.5 + 0.5 * aspect  # whole pixels
        assert max(inner.height / window.height, inner.width / window.width) == pytest.approx(0.9, abs=0.02)


def test_a_centred_principal_point_keeps_the_whole_image() -> None:
    assert centred_window(SIZE, (79.5, 59.5)) == Window(0, 0, *SIZE)
    assert min(centred_extent(SIZE, (-3, 50))) < 0


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    values = np.arange(6)[None].repeat(2, axis=0)
    assert resize_nearest(values, 1, 3).tolist() == [[1, 3, 5]]
    assert resize_nearest(values.T, 3, 1).tolist() == [[1], [3], [5]]
    assert resize_nearest(values, 2, 2).tolist() == [[1, 4], [1, 4]]
    assert resize_nearest(values, 2, 12)[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_crop_is_the_part_in_the_window() -> None:
    values = np.arange(20).reshape(4, 5)
    assert crop(values, Window(1, 2, 2, 3)).tolist() == [[7, 8, 9], [12, 13, 14]]


def test_rounding_of_the_centre_does_not_cost_a_pixel() -> None:
    assert centred_extent((10, 10), (4.5 - 1e-9, 4.5 + 1e-9)) == (10, 10)
    assert centred_extent((10, 10), (4.3, 4.7)) == (9, 9)
