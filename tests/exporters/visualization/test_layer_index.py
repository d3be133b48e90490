"""Images of a layer index and of its error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exporters.visualization.layer_index import (
    aligned_index,
    colour_index,
    difference_image,
    index_to_16bit,
    layer_index_sheet,
)

GREY = (64, 64, 64)


def test_index_rises_from_dark_to_light() -> None:
    image = colour_index(np.linspace(0, 1, 12)[None])
    assert image.shape == (1, 12, 3)
    lightness = image[0].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 5).all()
    assert lightness[0] < 10
    assert lightness[-1] > 230
    assert (np.abs(np.diff(image[0].astype(int), axis=0)).sum(1) > 25).all()  # neighbours of 12 layers differ


def test_masked_pixels_are_grey() -> None:
    index = np.array([[0.5, np.nan, 0.5, 2.0]])
    image = colour_index(torch.tensor(index), mask=torch.tensor([[True, True, False, True]]))
    assert (image[0, 1:3] == GREY).all()
    np.testing.assert_array_equal(image[0, 3], colour_index(np.ones((1, 1)))[0, 0])
    with pytest.raises(ValueError, match="mask"):
        colour_index(index, mask=np.ones((2, 2), bool))


def test_16_bit_values_are_linear_and_halves_round_up() -> None:
    numbers = np.array([[0, 1, 0.5, 1 / 65535, 2.5 / 65535, -0.1, 1.1]])
    written = index_to_16bit(numbers)
    assert written.dtype == np.uint16
    assert written.tolist() == [[0, 65535, 32768, 1, 3, 0, 65535]]
    with pytest.raises(ValueError, match="NaN"):
        index_to_16bit(np.array([[np.nan]]))


def test_offset_and_scale_of_a_prediction_are_ignored() -> None:
    true = np.random.default_rng(0).integers(0, 5, (20, 30)) / 4
    np.testing.assert_allclose(aligned_index(true * 0.3 + 7, true), true, atol=1e-12)
    assert (difference_image(true * 0.3 + 7, true) == 255).all()


def test_the_alignment_uses_only_valid_pixels() -> None:
    true = np.random.default_rng(0).integers(0, 5, (20, 30)) / 4
    predicted, mask = true * 2, np.ones(true.shape, bool)
    predicted[:8], mask[:8] = 100, False
    image = difference_image(predicted, true, mask)
    assert (image[8:] == 255).all()
    assert (image[:8] == GREY).all()


def test_too_far_to_the_front_is_red_and_too_far_to_the_back_blue() -> None:
    true = np.tile([0.0, 0.25, 0.5, 0.75, 1.0], (5, 4))
    predicted = true.copy()
    predicted[0, 0], predicted[1, 4] = 0.4, 0.6
    image = difference_image(predicted, true).astype(int)
    assert image[0, 0, 0] > image[0, 0, 2] + 60
    assert image[1, 4, 2] > image[1, 4, 0] + 60
    assert image[3:].min() > 230  # two outliers change the spread, which shifts the others slightly
    reversed_order = difference_image(1 - true, true).astype(int)
    assert reversed_order[0, 0].tolist() == [103, 0, 31]  # the background in front


def test_a_constant_prediction_differs_by_the_deviation_from_the_median() -> None:
    true = np.array([[0.0, 0.5, 1.0]])
    assert aligned_index(np.full((1, 3), 9.0), true).tolist() == [[0.5, 0.5, 0.5]]
    assert (difference_image(np.full((1, 3), 9.0), true)[0, 1] == 255).all()
    assert (difference_image(true, true, np.zeros((1, 3), bool)) == GREY).all()


def test_a_sheet_has_a_row_of_four_images_per_sample() -> None:
    images = np.zeros((2, 3, 30, 40), dtype=np.uint8)
    images[0, 2] = 255
    true = torch.linspace(0, 1, 40).expand(2, 1, 30, 40)
    sheets = [layer_index_sheet(images[:b], true[:b], 3 * true[:b], height=60) for b in (1, 2)]
    one, two = sheets
    assert two.shape[0] - one.shape[0] >= 60
    blue = (one == (0, 0, 255)).all(-1)
    assert blue.sum() == 60 * 80
    index = colour_index(true[0, 0])
    for end in (index[0, 0], index[0, -1]):  # in the true and in the aligned predicted index
        assert (one == end).all(-1).sum() >= 2 * 60


def test_equal_and_long_names_get_separate_rows() -> None:
    maps = np.random.default_rng(0).random((3, 8, 8))
    names = ["twin", "twin", "x" * 200]
    sheet = layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, names=names, height=32)
    plain = layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, height=32)
    assert sheet.shape[0] == plain.shape[0]
    assert sheet.shape[1] < plain.shape[1] + 300
    with pytest.raises(ValueError, match="zip"):
        layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, names=["one"])
