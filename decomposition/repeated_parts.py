"""Repeated parts of an illustration, such as dashes, buttons and letters, on one layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decomposition.region_graph import RegionGraph, colour_columns

# Chosen on validation images by the number of layers compared with that of visible elements.
MANY = 8  # layers; a drawing with fewer keeps each region on its own
SAME_COLOUR = 0.08  # distance in 50 units of CIELAB
SAME_HEIGHT = 0.2  # standard deviations of the heights
MIN_SHARE = 0.001  # of the image: regions that count as layers

_GAP = 0.02  # standard deviations between a layer and the neighbour that bounds it on one side only


def join_repeated_parts(graph: RegionGraph, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give separate regions of one colour and nearly one height the same height, where a drawing has many layers.

    The order of adjacent regions does not change: a common height is between those of all regions below and above.

    Args:
        graph: Regions of the image.
        heights: (N,), larger in front.

    Returns:
        (N,) heights, normalised to a standard deviation of 1 where regions were joined.
    """
    if len(np.unique(heights[graph.areas >= MIN_SHARE * graph.areas.sum()])) <= MANY:
        return heights
    result = np.asarray((heights - heights.mean()) / max(float(heights.std()), 1e-6))
    neighbours: list[set[int]] = [set() for _ in heights]
    for first, second in graph.pairs.tolist():
        neighbours[first].add(second)
        neighbours[second].add(first)
    part_of = {number: [number] for number in range(len(heights))}
    for first, second in _alike(graph, result):
        if part_of[first] is part_of[second]:
            continue
        members = part_of[first] + part_of[second]
        around = {near for member in members for near in neighbours[member]}
        if around.isdisjoint(members):
            height = _common_height(graph, result, members, neighbours)
            if height is not None:
                result[members] = height
                part_of |= dict.fromkeys(members, members)
    return result


def _alike(graph: RegionGraph, heights: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return pairs of regions of one colour and nearly one height, the most alike in height first."""
    colours = graph.regions[:, colour_columns()]
    steps = np.abs(heights[:, None] - heights)
    alike = (np.linalg.norm(colours[:, None] - colours, axis=2) < SAME_COLOUR) & (steps < SAME_HEIGHT)
    first, second = np.nonzero(np.triu(alike, 1))
    order = np.argsort(steps[first, second], kind="stable")
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))


def _common_height(
    graph: RegionGraph, heights: NDArray[np.float64], members: list[int], neighbours: list[set[int]]
) -> float | None:
    """Return a height that keeps the members in front of and behind the same neighbours, or None."""
    pairs = [(heights[near], heights[member]) for member in members for near in neighbours[member]]
    low = float(max((near for near, own in pairs if near < own), default=-np.inf))
    high = float(min((near for near, own in pairs if near > own), default=np.inf))
    mean = float(np.average(heights[members], weights=graph.areas[members]))
    if low < mean < high:
        return mean
    if low >= high:
        return None
    if np.isinf(low) or np.isinf(high):
        return high - _GAP if np.isinf(low) else low + _GAP
    return (low + high) / 2
