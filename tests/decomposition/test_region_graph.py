"""Measurements of regions and pairs, and the rules and the pair model on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from decomposition.region_graph import PAIR_FEATURES, REGION_FEATURES, RegionGraph, lab_colours, region_graph
from decomposition.region_pair_model import BoostedTrees, global_order, join_background, pair_model_heights, pair_rows
from decomposition.region_rules import RULES, rule_heights

BACKGROUND, RING, INNER, BAR = range(4)


def scene() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A blue disc with a red one in it on white; a black bar passes in front of the blue disc and next to the red."""
    rows, columns = np.mgrid[:120, :120]
    labels = np.zeros((120, 120), np.int32)
    labels[np.hypot(rows - 60, columns - 60) < 40] = RING
    labels[np.hypot(rows - 50, columns - 60) < 14] = INNER
    labels[80:90] = BAR
    colours = np.array([[255, 255, 255], [0, 0, 255], [255, 0, 0], [0, 0, 0]], np.uint8)
    return colours[labels], labels


@pytest.fixture(scope="module")
def graph() -> RegionGraph:
    image, labels = scene()
    return region_graph(image, labels)


def value(graph: RegionGraph, region: int, name: str) -> float:
    return float(graph.regions[region, REGION_FEATURES.index(name)])


def pair(graph: RegionGraph, first: int, second: int, name: str) -> float:
    (place,) = np.flatnonzero((graph.pairs == sorted((first, second))).all(1))
    features = graph.pair_features if first < second else graph.swapped_features
    return float(features[place, PAIR_FEATURES.index(name)])


def test_shapes_and_finite_values(graph: RegionGraph) -> None:
    assert graph.regions.shape == (4, len(REGION_FEATURES))
    assert graph.pairs.tolist() == [[0, 1], [0, 3], [1, 2], [1, 3]]
    assert graph.pair_features.shape == graph.swapped_features.shape == (4, len(PAIR_FEATURES))
    for values in (graph.regions, graph.pair_features, graph.swapped_features):
        assert np.isfinite(values).all()
    assert graph.areas.sum() == 120 * 120


def test_enclosure_and_border(graph: RegionGraph) -> None:
    assert value(graph, BACKGROUND, "touches_border") == 1
    assert value(graph, RING, "touches_border") == 0
    assert pair(graph, INNER, RING, "first_in_holes") == 1
    assert pair(graph, INNER, RING, "second_in_holes") == 0
    assert value(graph, INNER, "enclosed_by") > 0
    assert value(graph, INNER, "compactness") > value(graph, BAR, "compactness")


def test_convexity_points_to_the_disc(graph: RegionGraph) -> None:
    assert pair(graph, INNER, RING, "coarse_convexity") > 0.02
    assert pair(graph, RING, INNER, "coarse_convexity") == -pair(graph, INNER, RING, "coarse_convexity")


def test_t_junctions_vote_for_the_bar(graph: RegionGraph) -> None:
    assert pair(graph, BAR, RING, "t_votes") > 0.1
    assert pair(graph, RING, BAR, "t_votes") == -pair(graph, BAR, RING, "t_votes")
    assert pair(graph, BAR, RING, "t_first") > pair(graph, BAR, RING, "t_second")


def test_swapped_features_are_those_of_the_other_direction(graph: RegionGraph) -> None:
    image, labels = scene()
    renumbered = np.array([3, 2, 1, 0], np.int32)[labels]
    other = region_graph(image, renumbered)
    forward = {tuple(p): f for p, f in zip(graph.pairs.tolist(), graph.pair_features, strict=True)}
    backward = {(3 - b, 3 - a): f for (a, b), f in zip(other.pairs.tolist(), other.swapped_features, strict=True)}
    sampled = [PAIR_FEATURES.index(name) for name in ("fine_convexity", "coarse_convexity", "contact_straightness")]
    for key, features in forward.items():
        exact = np.delete(features, [*sampled, PAIR_FEATURES.index("others_nearby")])
        expected = np.delete(backward[key], [*sampled, PAIR_FEATURES.index("others_nearby")])
        np.testing.assert_allclose(exact, expected, atol=1e-5)
        np.testing.assert_allclose(features[sampled], backward[key][sampled], atol=0.1)


def test_lab_of_known_colours() -> None:
    lab = lab_colours(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8))
    known = np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.2]])
    np.testing.assert_allclose(lab.astype(np.float64), known, atol=0.1)


def test_rules(graph: RegionGraph) -> None:
    heights = rule_heights(graph)
    assert tuple(heights) == RULES
    assert heights["smaller_on_top"].argmax() == INNER
    assert heights["unlike_the_border"].argmin() == BACKGROUND
    assert heights["unlike_the_border"][RING] > heights["unlike_the_border"][BACKGROUND] + 0.5
    assert heights["nearer_the_centre"].argmax() in (RING, INNER)


def test_the_global_order_agrees_with_consistent_pairs(graph: RegionGraph) -> None:
    logits, weights = np.array([-1.0, -3.0, -1.0, -2.0]), np.ones(4)
    first, second = graph.pairs.T.astype(np.int64)
    heights = global_order(first, second, logits, weights, 4)
    assert heights.argsort().tolist() == [BACKGROUND, RING, INNER, BAR]
    assert heights[RING] - heights[BACKGROUND] == pytest.approx(1, abs=0.05)


def test_trees_add_up_and_the_pair_model_orders(graph: RegionGraph) -> None:
    holes = PAIR_FEATURES.index("first_in_holes")
    trees = BoostedTrees.from_arrays(
        {
            "feature": np.array([[holes, -1, -1], [-1, -1, -1]]),
            "threshold": np.array([[0.5, 0, 0], [0, 0, 0]]),
            "missing_left": np.array([[0, 0, 0], [0, 0, 0]]),
            "left": np.array([[1, 0, 0], [0, 0, 0]]),
            "right": np.array([[2, 0, 0], [0, 0, 0]]),
            "value": np.array([[0, -1.0, 3.0], [0.25, 0, 0]]),
        }
    )
    rows = pair_rows(graph, np.array([INNER, RING, INNER]), np.array([RING, INNER, BAR]))
    assert np.isnan(rows[:, holes]).tolist() == [False, False, True]  # the last pair is not adjacent
    assert trees.predict(rows).tolist() == [3.25, -0.75, 3.25]
    to_the_left = replace(trees, missing_left=np.ones((2, 3), np.bool_))
    assert to_the_left.predict(rows).tolist() == [3.25, -0.75, -0.75]
    heights = pair_model_heights(graph, trees)
    assert heights[INNER] > heights[RING]


def test_a_row_holds_both_regions(graph: RegionGraph) -> None:
    (row,) = pair_rows(graph, np.array([BAR]), np.array([INNER]))
    count = len(REGION_FEATURES)
    assert row[-2 * count : -count].tolist() == graph.regions[BAR].tolist()
    assert row[-count:].tolist() == graph.regions[INNER].tolist()


def test_parts_of_the_background_get_one_height() -> None:
    image, labels = scene()
    labels = np.where((labels == BACKGROUND) & (np.arange(120)[:, None] >= 90), 4, labels)
    heights = join_background(region_graph(image, labels.astype(np.int32)), np.array([0.0, 1, 2, 3, 0.7]))
    assert heights.tolist() == [0, 1, 2, 3, 0]
    inside = join_background(region_graph(image, labels.astype(np.int32)), np.array([0.5, 1, -1, 3, 0.7]))
    assert inside.tolist() == [0.5, 1, -1, 3, 0.7]  # the lowest region is not at the border
