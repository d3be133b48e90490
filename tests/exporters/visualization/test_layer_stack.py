"""Figures of layers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decomposition.layer import Layer
from exporters.visualization.layer_index import colour_index
from exporters.visualization.layer_stack import before_after_figure, exploded_view, layers_contact_sheet


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


def _share(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(-1) < 40).mean())


def test_a_contact_sheet_shows_every_layer_and_wraps(layers: list[Layer]) -> None:
    wide, tall = layers_contact_sheet(layers, height=80), layers_contact_sheet(layers, columns=1, height=80)
    assert wide.shape[1] > 2 * tall.shape[1]
    assert tall.shape[0] > 2 * wide.shape[0]
    for sheet in (wide, tall):
        for colour in ((0, 0, 255), (0, 200, 0), (255, 0, 0)):
            assert _share(sheet, colour) > 0.03
    with pytest.raises(ValueError, match="at least one layer"):
        layers_contact_sheet([])


def test_an_exploded_view_shows_hidden_parts_of_layers(layers: list[Layer]) -> None:
    view = exploded_view(layers, height=120, spacing=0.6)
    for colour in ((0, 0, 255), (0, 200, 0), (255, 0, 0)):
        assert _share(view, colour) > 0.03
    positions = [
        np.flatnonzero((np.abs(view.astype(int) - c).max(-1) < 40).any(0)).mean() for c in ((0, 0, 255), (255, 0, 0))
    ]
    assert positions[0] < positions[1]  # the foremost is at the right
    assert (view[[0, -1]] > 200).all()


def test_the_figure_shows_illustration_index_and_layers(layers: list[Layer]) -> None:
    image = np.full((40, 60, 3), (255, 0, 255), dtype=np.uint8)
    figure = before_after_figure(image, np.full((40, 60), 0.5), layers, height=100)
    assert (figure == (255, 0, 255)).all(-1).sum() == pytest.approx(100 * 150, rel=0.05)
    assert (figure == colour_index(np.full((1, 1), 0.5))[0, 0]).all(-1).sum() == pytest.approx(100 * 150, rel=0.05)
    assert _share(figure, (255, 0, 0)) > 0.01
    with pytest.raises(ValueError, match="at least one layer"):
        before_after_figure(image, np.zeros((40, 60)), [])


def test_a_transparent_illustration_is_shown_on_white(layers: list[Layer]) -> None:
    image = np.zeros((40, 60, 4), dtype=np.uint8)
    image[:, :30] = (255, 0, 255, 128)
    figure = before_after_figure(image, np.full((40, 60), 0.5), layers, height=100)
    assert (figure == (255, 127, 255)).all(-1).sum() == pytest.approx(100 * 75, rel=0.15)
    assert not (figure == 0).all(-1).any()


@pytest.mark.parametrize("size", [(1, 500), (4, 1000), (60, 1200), (500, 1)])
def test_figures_of_very_wide_and_tall_images_stay_small(size: tuple[int, int]) -> None:
    layers = [Layer(f"layer {number}", np.full((*size, 4), 255, np.uint8), number / 19) for number in range(20)]
    figure = before_after_figure(layers[0].pixels, np.zeros(size), layers)
    assert figure.size < 3 * 4000 * 800
