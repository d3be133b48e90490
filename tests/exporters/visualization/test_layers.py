from __future__ import annotations

import numpy as np
import pytest
import torch

from decomposition.layer import Layer
from exporters.visualization.layers import (
    aligned_index,
    before_after_figure,
    colour_index,
    difference_picture,
    exploded_view,
    index_to_16bit,
    layer_index_sheet,
    layers_contact_sheet,
)

GREY = (64, 64, 64)


@pytest.fixture
def layers() -> list[Layer]:
    clear = np.zeros((40, 60, 4), dtype=np.uint8)
    colours = {"sky": (0, 0, 255), "hill": (0, 200, 0), "sun": (255, 0, 0)}
    layers = []
    for number, (name, colour) in enumerate(colours.items()):
        pixels = clear.copy()
        pixels[10 * number :, 5 * number :] = (*colour, 255)
        layers.append(Layer(name, pixels, number / 2))
    return layers


def _share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(-1) < 40).mean())


def test_index_rises_from_dark_to_light() -> None:
    picture = colour_index(np.linspace(0, 1, 12)[None])
    assert picture.shape == (1, 12, 3)
    lightness = picture[0].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 5).all()
    assert lightness[0] < 10
    assert lightness[-1] > 230
    assert (np.abs(np.diff(picture[0].astype(int), axis=0)).sum(1) > 25).all()  # neighbours of 12 layers differ


def test_what_does_not_count_is_grey() -> None:
    index = np.array([[0.5, np.nan, 0.5, 2.0]])
    picture = colour_index(torch.tensor(index), mask=torch.tensor([[True, True, False, True]]))
    assert (picture[0, 1:3] == GREY).all()
    np.testing.assert_array_equal(picture[0, 3], colour_index(np.ones((1, 1)))[0, 0])
    with pytest.raises(ValueError, match="mask"):
        colour_index(index, mask=np.ones((2, 2), bool))


def test_16_bits_are_linear_and_halves_go_up() -> None:
    numbers = np.array([[0, 1, 0.5, 1 / 65535, 2.5 / 65535, -0.1, 1.1]])
    written = index_to_16bit(numbers)
    assert written.dtype == np.uint16
    assert written.tolist() == [[0, 65535, 32768, 1, 3, 0, 65535]]
    with pytest.raises(ValueError, match="NaN"):
        index_to_16bit(np.array([[np.nan]]))


def test_offset_and_scale_of_a_prediction_do_not_count() -> None:
    true = np.random.default_rng(0).integers(0, 5, (20, 30)) / 4
    np.testing.assert_allclose(aligned_index(true * 0.3 + 7, true), true, atol=1e-12)
    assert (difference_picture(true * 0.3 + 7, true) == 255).all()


def test_the_alignment_is_over_counted_pixels_alone() -> None:
    true = np.random.default_rng(0).integers(0, 5, (20, 30)) / 4
    predicted, mask = true * 2, np.ones(true.shape, bool)
    predicted[:8], mask[:8] = 100, False
    picture = difference_picture(predicted, true, mask)
    assert (picture[8:] == 255).all()
    assert (picture[:8] == GREY).all()


def test_too_far_to_the_front_is_red_and_too_far_to_the_back_blue() -> None:
    true = np.tile([0.0, 0.25, 0.5, 0.75, 1.0], (5, 4))
    predicted = true.copy()
    predicted[0, 0], predicted[1, 4] = 0.4, 0.6
    picture = difference_picture(predicted, true).astype(int)
    assert picture[0, 0, 0] > picture[0, 0, 2] + 60
    assert picture[1, 4, 2] > picture[1, 4, 0] + 60
    assert picture[3:].min() > 230  # the others moved by what two pixels changed of the spread
    reversed_order = difference_picture(1 - true, true).astype(int)
    assert reversed_order[0, 0].tolist() == [103, 0, 31]  # the background in front


def test_a_constant_prediction_differs_by_the_truth_less_its_median() -> None:
    true = np.array([[0.0, 0.5, 1.0]])
    assert aligned_index(np.full((1, 3), 9.0), true).tolist() == [[0.5, 0.5, 0.5]]
    assert (difference_picture(np.full((1, 3), 9.0), true)[0, 1] == 255).all()
    assert (difference_picture(true, true, np.zeros((1, 3), bool)) == GREY).all()


def test_a_sheet_has_a_row_of_four_pictures_per_image() -> None:
    images = np.zeros((2, 3, 30, 40), dtype=np.uint8)
    images[0, 2] = 255
    true = torch.linspace(0, 1, 40).expand(2, 1, 30, 40)
    sheets = [layer_index_sheet(images[:b], true[:b], 3 * true[:b], height=60) for b in (1, 2)]
    one, two = sheets
    assert two.shape[0] - one.shape[0] >= 60
    blue = (one == (0, 0, 255)).all(-1)
    assert blue.sum() == 60 * 80
    index = colour_index(true[0, 0])
    for end in (index[0, 0], index[0, -1]):  # in the true and, aligned, in the predicted index alike
        assert (one == end).all(-1).sum() >= 2 * 60


def test_rows_of_one_name_and_of_a_long_one_are_kept_apart() -> None:
    maps = np.random.default_rng(0).random((3, 8, 8))
    names = ["twin", "twin", "x" * 200]
    sheet = layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, names=names, height=32)
    plain = layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, height=32)
    assert sheet.shape[0] == plain.shape[0]
    assert sheet.shape[1] < plain.shape[1] + 300
    with pytest.raises(ValueError, match="zip"):
        layer_index_sheet(np.zeros((3, 3, 8, 8), np.uint8), maps, maps, names=["one"])


def test_a_contact_sheet_shows_every_layer_and_wraps(layers: list[Layer]) -> None:
    wide, tall = layers_contact_sheet(layers, height=80), layers_contact_sheet(layers, columns=1, height=80)
    assert wide.shape[1] > 2 * tall.shape[1]
    assert tall.shape[0] > 2 * wide.shape[0]
    for sheet in (wide, tall):
        for colour in ((0, 0, 255), (0, 200, 0), (255, 0, 0)):
            assert _share(sheet, colour) > 0.03
    with pytest.raises(ValueError, match="no layer"):
        layers_contact_sheet([])


def test_an_exploded_view_shows_what_a_layer_above_hides(layers: list[Layer]) -> None:
    view = exploded_view(layers, height=120, spacing=0.6)
    for colour in ((0, 0, 255), (0, 200, 0), (255, 0, 0)):
        assert _share(view, colour) > 0.03
    places = [
        np.flatnonzero((np.abs(view.astype(int) - c).max(-1) < 40).any(0)).mean() for c in ((0, 0, 255), (255, 0, 0))
    ]
    assert places[0] < places[1]  # the foremost at the right
    assert (view[[0, -1]] > 200).all()


def test_the_figure_holds_illustration_index_and_layers(layers: list[Layer]) -> None:
    image = np.full((40, 60, 3), (255, 0, 255), dtype=np.uint8)
    figure = before_after_figure(image, np.full((40, 60), 0.5), layers, height=100)
    assert (figure == (255, 0, 255)).all(-1).sum() == pytest.approx(100 * 150, rel=0.05)
    assert (figure == colour_index(np.full((1, 1), 0.5))[0, 0]).all(-1).sum() == pytest.approx(100 * 150, rel=0.05)
    assert _share(figure, (255, 0, 0)) > 0.01
    with pytest.raises(ValueError, match="no layer"):
        before_after_figure(image, np.zeros((40, 60)), [])


@pytest.mark.parametrize("size", [(1, 500), (4, 1000), (60, 1200), (500, 1)])
def test_figures_of_long_pictures_stay_small(size):
    layers = [Layer(f"layer {number}", np.full((*size, 4), 255, np.uint8), number / 19) for number in range(20)]
    figure = before_after_figure(layers[0].pixels, np.zeros(size), layers)
    assert figure.size < 3 * 4000 * 800
