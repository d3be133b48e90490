"""The region-pair model: boosted trees on pairs of regions, and the global order that agrees best with them.

The trees are plain arrays, so that they are stored as tensors and evaluated without the library that fitted them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decomposition.region_graph import PAIR_FEATURES, REGION_FEATURES, RegionGraph, colour_columns

MAX_LOGIT = 4.0  # a pair is at most this certain, so that one cannot overrule many

BACKGROUND_STEP = 0.06  # between parts of the background, in 50 units of CIELAB

Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class BoostedTrees:
    """Regression trees whose outputs are added.

    Attributes:
        feature: (T, K) int32, feature that a node compares; −1 in a leaf.
        threshold: (T, K) float32, a row goes left where its feature is at most this.
        missing_left: (T, K) bool, whether a row without the feature (NaN) goes left.
        left: (T, K) int32, number of the left child.
        right: (T, K) int32, number of the right child.
        value: (T, K) float32, output of a leaf.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> BoostedTrees:
        """Make trees from arrays by name, of any numeric type."""
        return cls(
            feature=arrays["feature"].astype(np.int32),
            threshold=arrays["threshold"].astype(np.float32),
            missing_left=arrays["missing_left"].astype(np.bool_),
            left=arrays["left"].astype(np.int32),
            right=arrays["right"].astype(np.int32),
            value=arrays["value"].astype(np.float32),
        )

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Add the outputs of all trees for rows (R, F), NaN where a feature is missing; (R,)."""
        places = np.arange(len(rows))
        missing = np.isnan(rows)
        result = np.zeros(len(rows))
        for tree in range(len(self.feature)):
            node = np.zeros(len(rows), np.int32)
            while True:
                feature = self.feature[tree, node]
                inner = feature >= 0
                if not inner.any():
                    break
                goes_left = rows[places, feature] <= self.threshold[tree, node]
                goes_left |= missing[places, feature] & self.missing_left[tree, node]
                node = np.where(inner, np.where(goes_left, self.left[tree, node], self.right[tree, node]), node)
            result += self.value[tree, node]
        return result


def pair_rows(graph: RegionGraph, first: Pairs, second: Pairs) -> NDArray[np.float32]:
    """Measure pairs of regions for the trees.

    Args:
        graph: Regions of an image.
        first: (R,) numbers of regions.
        second: (R,) numbers of the regions that they are compared with.

    Returns:
        (R, F): measurements of the pair, NaN where it is not adjacent; differences; measurements of both regions.
    """
    count = len(graph.regions)
    adjacent = np.full((len(first), len(PAIR_FEATURES)), np.nan, np.float32)
    for columns, features in (((0, 1), graph.pair_features), ((1, 0), graph.swapped_features)):
        place = np.full((count, count), -1)
        place[graph.pairs[:, columns[0]], graph.pairs[:, columns[1]]] = np.arange(len(graph.pairs))
        found = place[first, second]
        adjacent[found >= 0] = features[found[found >= 0]]
    one, other = graph.regions[first], graph.regions[second]
    column = {name: place for place, name in enumerate(REGION_FEATURES)}
    differences = [np.linalg.norm(one[:, colour_columns()] - other[:, colour_columns()], axis=1)]
    for name in ("x", "y", "log_area", "offset_from_centre"):
        differences.append(one[:, column[name]] - other[:, column[name]])
    top, bottom = column["top"], column["bottom"]
    differences.append(np.maximum(one[:, top] - other[:, top], other[:, bottom] - one[:, bottom]))
    return np.concatenate([adjacent, np.stack(differences, 1), one, other], axis=1).astype(np.float32)


def pair_model_heights(graph: RegionGraph, trees: BoostedTrees) -> NDArray[np.float64]:
    """Order the regions of an image by the region-pair model.

    Args:
        graph: Regions of the image.
        trees: Logit that the first region of an adjacent pair is in front.

    Returns:
        (N,) heights, larger in front.
    """
    first, second = graph.pairs.T.astype(np.int64)
    weights = np.sqrt(graph.contacts.astype(np.float64))
    weights /= max(weights.sum(), 1e-12)
    forward, backward = (trees.predict(pair_rows(graph, *sides)) for sides in ((first, second), (second, first)))
    logits = np.clip((forward - backward) / 2, -MAX_LOGIT, MAX_LOGIT)
    return global_order(first, second, logits, weights, len(graph.regions))


def join_background(graph: RegionGraph, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give regions of the background that a drawing divides one height.

    If the lowest region touches the border of the image, so do the other parts of the background, in the same colour.
    """
    touching = graph.regions[:, REGION_FEATURES.index("touches_border")] > 0
    lowest = int(heights.argmin())
    colours = graph.regions[:, colour_columns()]
    same = np.linalg.norm(colours - colours[lowest], axis=1) < BACKGROUND_STEP
    return np.where(touching & touching[lowest] & same, heights[lowest], heights)


def global_order(
    first: Pairs, second: Pairs, logits: NDArray[np.float64], weights: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Find heights whose differences agree best with the logits of pairs, by weighted least squares.

    Args:
        first: (R,) numbers of regions.
        second: (R,) numbers of the regions that they are compared with.
        logits: (R,), positive where the first region of a pair is in front.
        weights: (R,), above 0.
        count: Number of regions.

    Returns:
        (count,) heights.
    """
    matrix, target = 1e-3 * np.eye(count) * max(1e-9, float(weights.max(initial=0))), np.zeros(count)
    for rows, columns, sign in ((first, second, 1), (second, first, -1)):
        np.add.at(matrix, (rows, rows), weights)
        np.add.at(matrix, (rows, columns), -weights)
        np.add.at(target, rows, sign * weights * logits)
    return np.asarray(np.linalg.solve(matrix, target))
