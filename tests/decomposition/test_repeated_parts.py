"""Repeated parts of one colour share a layer, without a change of the order of adjacent regions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decomposition.region_graph import RegionGraph, region_graph
from decomposition.repeated_parts import MANY, join_repeated_parts

BACKGROUND, PLATE, LID = range(3)
DASHES = range(3, 13)


@pytest.fixture(scope="module")
def graph() -> RegionGraph:
    """Ten red dashes on a blue plate, and a green lid on the last two of them."""
    labels = np.zeros((60, 120), np.int32)
    labels[10:50, 5:115] = PLATE
    for place, dash in enumerate(DASHES):
        labels[25:32, 8 + 10 * place : 15 + 10 * place] = dash
    labels[20:30, 84:112] = LID
    colours = np.array([[255, 255, 255], [0, 0, 255], [0, 200, 0], *[[255, 0, 0]] * len(DASHES)], np.uint8)
    return region_graph(colours[labels], labels)


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


def test_clearly_different_heights_and_few_layers_stay(graph: RegionGraph) -> None:
    assert len(np.unique(join_repeated_parts(graph, heights(steps=2)))) == 13
    few = np.minimum(heights(), 2 + 0.01 * (MANY - 4))
    assert join_repeated_parts(graph, few) is few
