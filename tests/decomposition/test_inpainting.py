"""Extent and colours of the hidden parts of layers."""

from __future__ import annotations

import numpy as np

from decomposition.inpainting import clean_pixels, fill_colours, layer_extents


def test_an_enclosed_part_belongs_to_the_enclosing_layer() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[4:16, 4:16] = 1
    labels[8:12, 8:12] = 2
    lowest, middle, top = layer_extents(labels, np.ones((20, 20), np.bool_), 3)
    assert lowest.all()
    assert np.array_equal(middle, labels >= 1)
    assert np.array_equal(top, labels == 2)


def test_a_part_between_two_layers_goes_to_the_nearest() -> None:
    labels = np.zeros((10, 30), np.int32)
    labels[:, 20:] = 1
    labels[:, 10:20] = 2
    extents = layer_extents(labels, np.ones(labels.shape, np.bool_), 3)
    assert np.array_equal(np.flatnonzero(extents[1][5]), np.arange(15, 30))


def test_a_speck_on_the_outline_does_not_spread() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = 2
    labels[9, 20:22] = 1
    extents = layer_extents(labels, np.ones(labels.shape, np.bool_), 3)
    assert np.array_equal(extents[1], labels == 1)


def test_a_part_that_touches_no_lower_layer_is_above_the_lowest() -> None:
    labels = np.full((9, 20), -1, np.int32)
    labels[:, :5], labels[:, 8:10], labels[3:6, 14:18] = 0, 1, 2
    extents = layer_extents(labels, labels >= 0, 3)
    assert np.array_equal(extents[0], labels >= 0)
    assert np.array_equal(extents[1], labels == 1)


def test_nothing_is_inpainted_below_translucent_pixels() -> None:
    labels = np.zeros((10, 10), np.int32)
    labels[3:7, 3:7] = 1
    opaque = np.ones((10, 10), np.bool_)
    opaque[3:5, 3:7] = False
    lowest, _ = layer_extents(labels, opaque, 2)
    assert np.array_equal(lowest, (labels == 0) | opaque)


def test_clean_pixels_are_away_from_other_layers_except_in_thin_parts() -> None:
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 5:15] = 1
    labels[2:18, 30] = 1  # a hairline
    labels[2, 22] = 1  # a speck
    clean = clean_pixels(labels == 1, labels == 0)
    expected = np.zeros(labels.shape, np.bool_)
    expected[7:13, 7:13] = expected[2:18, 30] = True
    assert np.array_equal(clean, expected)
    speck = labels.copy()
    speck[:, :22] = speck[:, 23:] = 0
    assert np.array_equal(clean_pixels(speck == 1, speck == 0), speck == 1)


def test_flat_colours_stay_flat() -> None:
    known = np.random.default_rng(0).random((53, 71)) < 0.02
    colours = np.where(known[..., None], np.array([12, 200, 99], np.float32), np.float32(255))
    assert np.abs(fill_colours(colours, known) - [12, 200, 99]).max() < 1e-3


def test_linear_gradients_continue_through_holes() -> None:
    y, x = np.mgrid[:100, :120].astype(np.float32)
    ramp = np.stack([x + y, 2 * x, 200 - y], -1)
    known = np.ones(x.shape, np.bool_)
    known[30:70, 40:90] = False
    filled = fill_colours(np.where(known[..., None], ramp, 0), known)
    assert np.array_equal(filled[known], ramp[known])
    assert np.abs(filled - ramp).max() < 2.5


def test_fills_stay_between_the_known_colours() -> None:
    random = np.random.default_rng(1)
    colours = random.uniform(50, 60, (65, 33, 3)).astype(np.float32)
    known = random.random((65, 33)) < 0.1
    filled = fill_colours(colours, known)
    assert filled.min() >= colours[known].min() - 1e-3
    assert filled.max() <= colours[known].max() + 1e-3
    assert not fill_colours(colours, np.zeros_like(known)).any()
