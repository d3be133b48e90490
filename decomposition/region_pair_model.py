"""The region-pair model: boosted trees on adjacent regions, and the global order that agrees best with them.

The trees are plain arrays, so that they are stored as tensors and evaluated without the library that fitted them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decomposition.region_graph import RegionGraph

MAX_LOGIT = 4.0  # a pair is at most this certain, so that one cannot overrule many


@dataclass(frozen=True)
class BoostedTrees:
    """Regression trees whose outputs are added.

    Attributes:
        feature: (T, K) int32, feature that a node compares; −1 in a leaf.
        threshold: (T, K) float32, a row goes left where its feature is at most this.
        left: (T, K) int32, number of the left child.
        right: (T, K) int32, number of the right child.
        value: (T, K) float32, output of a leaf.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> BoostedTrees:
        """Make trees from arrays by name, of any numeric type."""
        integers = {name: arrays[name].astype(np.int32) for name in ("feature", "left", "right")}
        return cls(**integers, **{name: arrays[name].astype(np.float32) for name in ("threshold", "value")})

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Add the outputs of all trees for rows (R, F); (R,)."""
        places = np.arange(len(rows))
        result = np.zeros(len(rows))
        for tree in range(len(self.feature)):
            node = np.zeros(len(rows), np.int32)
            while True:
                feature = self.feature[tree, node]
                inner = feature >= 0
                if not inner.any():
                    break
                goes_left = rows[places, feature] <= self.threshold[tree, node]
                node = np.where(inner, np.where(goes_left, self.left[tree, node], self.right[tree, node]), node)
            result += self.value[tree, node]
        return result


def pair_rows(graph: RegionGraph) -> NDArray[np.float32]:
    """Return what the trees see: (2 · P, F), every adjacent pair in both directions, the second half swapped."""
    first, second = graph.regions[graph.pairs[:, 0]], graph.regions[graph.pairs[:, 1]]
    forward = np.concatenate([graph.pair_features, first, second], axis=1)
    return np.concatenate([forward, np.concatenate([graph.swapped_features, second, first], axis=1)])


def pair_model_heights(graph: RegionGraph, trees: BoostedTrees) -> NDArray[np.float64]:
    """Order the regions of an image by the region-pair model: heights (N,), larger in front."""
    forward, backward = np.split(trees.predict(pair_rows(graph)), 2)
    return global_order(graph, np.clip((forward - backward) / 2, -MAX_LOGIT, MAX_LOGIT))


def global_order(graph: RegionGraph, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find heights whose differences agree best with the logits of adjacent pairs, by weighted least squares.

    Args:
        graph: Regions and adjacent pairs; a pair counts by the root of its common boundary.
        logits: (P,), positive where the first region of a pair is in front.

    Returns:
        (N,) heights.
    """
    first, second = graph.pairs.T
    weights = np.sqrt(graph.contacts.astype(np.float64))
    count = len(graph.regions)
    matrix, target = 1e-3 * np.eye(count) * max(1.0, float(weights.max(initial=0))), np.zeros(count)
    for rows, columns, sign in ((first, second, 1), (second, first, -1)):
        np.add.at(matrix, (rows, rows), weights)
        np.add.at(matrix, (rows, columns), -weights)
        np.add.at(target, rows, sign * weights * logits)
    return np.asarray(np.linalg.solve(matrix, target))
