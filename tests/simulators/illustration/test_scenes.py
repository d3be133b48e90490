"""Simulated illustrations: orders compared with geometry and with single elements, reproducibility."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from simulators.illustration.objects import OBJECTS
from simulators.illustration.pen import Pen, Style
from simulators.illustration.rendering import Element, render
from simulators.illustration.scenes import KINDS, draw_illustration, random_illustration
from simulators.illustration.shapes import circle, outset, rectangle, signed_area

RED, GREEN, BLUE = (200, 30, 30), (20, 180, 60), (30, 60, 220)


def centres(size: int) -> list[NDArray[np.float64]]:
    axis = (np.arange(size) + 0.5) / size
    return list(np.meshgrid(axis, axis))


def test_orders_follow_the_geometry_at_pixel_centres() -> None:
    disc = Element((circle(0.5, 0.5, 0.3),), GREEN, holes=(circle(0.5, 0.5, 0.1),))
    square = Element((rectangle(0.1, 0.1, 0.5, 0.5),), RED)
    bar = Element((rectangle(0, 0, 1, 1),), BLUE, clip=rectangle(0.7, 0.4, 0.9, 0.6))
    orders = render([square, disc, bar], 120).orders
    x, y = centres(120)
    reach = np.hypot(x - 0.5, y - 0.5)
    truth = np.zeros((120, 120))
    truth[(abs(x - 0.3) < 0.2) & (abs(y - 0.3) < 0.2)] = 1
    truth[(reach < 0.3) & (reach > 0.1)] = 2
    truth[(abs(x - 0.8) < 0.1) & (abs(y - 0.5) < 0.1)] = 3
    differing = orders != truth
    assert differing.mean() < 0.01
    assert not (differing & ~ndimage.binary_dilation(ndimage.morphological_gradient(truth, 3) > 0)).any()


def test_images_are_antialiased_and_flat_inside() -> None:
    image, orders = render([Element((circle(0.5, 0.5, 0.3),), GREEN)], 60)
    inside = ndimage.binary_erosion(orders == 1, iterations=2)
    outside = ndimage.binary_erosion(orders == 0, iterations=2)
    assert (image[inside] == GREEN).all()
    assert (image[outside] == 255).all()
    assert 5 < len(np.unique(image[~inside & ~outside], axis=0)) <= 10  # 3 × 3 samples
    coverage = (255 - image[..., 0].astype(float)) / (255 - GREEN[0])
    assert abs(coverage.mean() - np.pi * 0.09) < 0.01


def test_strokes_belong_to_their_element_and_opacity_shows_what_is_below() -> None:
    box = rectangle(0.3, 0.3, 0.7, 0.7)
    plain = render([Element((box,), GREEN)], 60).orders
    image, orders = render([Element((box,), GREEN, stroke=RED, stroke_width=0.1)], 60)
    assert orders.sum() > plain.sum()
    assert (image[30, 16] == RED).all()
    assert (image[30, 30] == GREEN).all()
    image, orders = render([Element((box,), GREEN), Element((box,), (0, 0, 0), opacity=0.5)], 60)
    assert orders[30, 30] == 1  # the element below is nowhere the topmost, so it has no number
    assert 0 < image[30, 30, 1] < GREEN[1]


def test_invisible_layers_have_no_number() -> None:
    shapes = [rectangle(0.2, 0.2, 0.4, 0.4), rectangle(0.1, 0.1, 0.9, 0.9), rectangle(1.5, 0, 2, 1)]
    shapes.append(circle(0.5, 0.5, 0.1))
    orders = render([Element((shape,), RED) for shape in shapes], 50).orders
    assert np.unique(orders).tolist() == [0, 1, 2]
    assert (orders[25, 25], orders[10, 10], orders[0, 0]) == (2, 1, 0)


def test_an_outset_outline_keeps_its_distance_in_both_directions() -> None:
    for outline in (circle(0.5, 0.5, 0.3), circle(0.5, 0.5, 0.3)[::-1]):
        radii = np.hypot(*(outset(outline, 0.05) - 0.5).T)
        np.testing.assert_allclose(radii, 0.35, atol=0.001)
    square = outset(rectangle(0, 0, 1, 1), 0.1)
    np.testing.assert_allclose(abs(signed_area(square)), 1.2**2)


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: thing.__name__)
def test_orders_are_those_of_elements_drawn_one_by_one(thing: Callable[[Pen], None]) -> None:
    style = Style((RED, GREEN, BLUE), 0.01, True, 0.5, 0.8)
    pen = Pen([], np.random.default_rng(3), style)
    thing(pen)
    assert len(pen.elements) >= 2
    truth = np.zeros((96, 96), int)
    for number, element in enumerate(pen.elements, start=1):
        truth[render([element], 96).orders > 0] = number
    _, compact = np.unique(truth, return_inverse=True)
    np.testing.assert_array_equal(render(pen.elements, 96).orders, compact.reshape(96, 96))


def test_the_same_seed_gives_the_same_illustration_and_another_seed_another() -> None:
    for kind in KINDS:
        one, again, other = (draw_illustration(kind, seed, 64) for seed in (5, 5, 6))
        np.testing.assert_array_equal(one.image, again.image)
        np.testing.assert_array_equal(one.orders, again.orders)
        assert (one.orders != other.orders).mean() > 0.05
        assert one.image.shape == (64, 64, 3)
        assert one.image.dtype == np.uint8
        assert one.orders.dtype == np.uint16


@pytest.mark.slow
def test_random_illustrations_have_many_layers_small_ones_on_top() -> None:
    drawn = [random_illustration(seed, 96) for seed in range(40)]
    for _, orders in drawn:
        seen = np.unique(orders[orders > 0])
        assert seen.tolist() == list(range(1, len(seen) + 1))
    counts = np.array([orders.max() for _, orders in drawn])
    assert np.median(counts) > 10
    assert 0.2 < np.mean([(orders == 0).any() for _, orders in drawn]) < 0.95  # with and without a background
    halves = [np.bincount(orders.ravel())[1:].astype(float) for _, orders in drawn if orders.max() > 5]
    assert np.mean([areas[: len(areas) // 2].sum() > areas[len(areas) // 2 :].sum() for areas in halves]) > 0.7


def test_a_larger_image_shows_the_same() -> None:
    small, large = (random_illustration(7, size) for size in (80, 240))
    boxes = large.image.reshape(80, 3, 80, 3, 3).mean(axis=(1, 3))
    assert np.abs(boxes - small.image).mean() < 6
    assert (np.bincount(small.orders.ravel() > 0) - np.bincount(large.orders.ravel() > 0) / 9 < 64).all()
