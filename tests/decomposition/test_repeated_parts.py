"""Repeated parts of one colour share a layer, without a change of the order of adjacent regions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decomposition.region_graph import RegionGraph, region_graph
from decomposition.repeated_parts import MANY, join_repeated_parts

BACKGROUND, PLATE, LID = range(3)
DASHES = range(3, 13)


def scene() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Ten red dashes on a blue plate, and a green lid on the last two of them."""
    labels = np.zeros((60, 120), np.int32)
    labels[10:50, 5:115] = PLATE
    for place, dash in enumerate(DASHES):
        labels[25:32, 8 + 10 * place : 15 + 10 * place] = dash
    labels[20:30, 86:112] = LID
    colours = np.array([[255, 255, 255], [0, 0, 255], [0, 200, 0], *[[255, 0, 0]] * len(DASHES)], np.uint8)
    return colours[labels], labels


@pytest.fixture(scope="module")
def graph() -> RegionGraph:
    return region_graph(*scene())


def heights(steps: float = 0.01) -> NDArray[np.float64]:
    return np.array([0.0, 1.0, 3.0, *(2 + steps * np.arange(len(DASHES)))])


def test_dashes_share_a_height(graph: RegionGraph) -> None:
    joined = join_repeated_parts(graph, heights())
    assert len(np.unique(joined)) == 4
    assert joined[BACKGROUND] < joined[PLATE] < joined[DASHES[0]] < joined[LID]


def test_the_order_of_adjacent_regions_stays(graph: RegionGraph) -> None:
    given = heights()
    given[DASHES[-1]] = 2.97
    given[LID] = 2.95  # below the last dash, above the one next to it
    joined = join_repeated_parts(graph, given)
    first, second = graph.pairs.T
    assert np.array_equal(np.sign(joined[first] - joined[second]), np.sign(given[first] - given[second]))
    assert len(np.unique(joined[list(DASHES[:-1])])) == 1
    assert joined[DASHES[-1]] > joined[DASHES[0]]


def test_parts_below_and_above_a_neighbour_stay_apart(graph: RegionGraph) -> None:
    given = heights(steps=0)
    given[list(DASHES)] = 2.90
    given[LID], given[DASHES[-1]] = 2.93, 2.96  # all of one colour and nearly one height, the last in front of the lid
    joined = join_repeated_parts(graph, given + 1e-4 * np.arange(13))
    assert joined[DASHES[-2]] < joined[LID] < joined[DASHES[-1]]


def test_a_common_height_keeps_the_neighbours_of_every_part(graph: RegionGraph) -> None:
    given = heights(steps=0)
    given[list(DASHES)] = 2.90 + 1e-4 * np.arange(10)
    given[LID], given[DASHES[-1]], given[DASHES[-2]] = 2.93, 2.96, 2.97  # the mean is below the lid
    joined = join_repeated_parts(graph, given)
    assert np.isfinite(joined).all()
    assert len(np.unique(joined[list(DASHES)])) == 1
    assert joined[LID] < joined[DASHES[0]]


def test_clearly_different_heights_and_few_layers_stay(graph: RegionGraph) -> None:
    assert len(np.unique(join_repeated_parts(graph, heights(steps=2)))) == 13
    few = np.minimum(heights(), 2 + 0.01 * (MANY - 4))
    assert join_repeated_parts(graph, few) is few


def test_adjacent_regions_keep_their_order() -> None:
    image, labels = scene()
    labels[29:32, 8:15] = 13  # the lower half of the first dash, a little darker
    image[29:32, 8:15] = (252, 0, 0)
    joined = join_repeated_parts(region_graph(image, labels), np.append(heights(), 2.005))
    assert joined[13] > joined[DASHES[0]]
