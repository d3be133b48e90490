"""Fit the region-pair model: boosted trees on adjacent pairs of regions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from datamodules.region_graphs import OrderedRegions, read_split
from decomposition.region_pair_model import BoostedTrees, Pairs, pair_rows
from formats.atomic import atomic_path
from formats.optional import require_package

PAIRS_PER_IMAGE = 20
BACKGROUND_WEIGHT = 0.5  # of pairs with the background
SETTINGS = {
    "max_iter": 140,
    "learning_rate": 0.08,
    "max_leaf_nodes": 24,
    "min_samples_leaf": 60,
    "l2_regularization": 2.0,
    "max_features": 0.5,
}
# Our name of an array → field of scikit-learn's nodes.
NODE_FIELDS = {
    "feature": "feature_idx",
    "threshold": "num_threshold",
    "missing_left": "missing_go_to_left",
    "left": "left",
    "right": "right",
    "value": "value",
}


def region_pair_model(data_dir: list[str], out: str, val_share: float = 0.1, test_share: float = 0.1) -> None:
    """Fit boosted trees that say which of two adjacent regions is in front: the baseline of the region order.

    Writes ``<out>``, a safetensors file with the arrays of `decomposition.region_pair_model.BoostedTrees`.

    Args:
        data_dir: Folders that ``prepare region-graphs`` wrote; their training split is used.
        out: File of the trees.
        val_share: Share of the images that are left for validation, as in ``RegionGraphDataModule``.
        test_share: Share of the images that are left for the test.

    Raises:
        InputError: A folder has no region graphs, or scikit-learn is not installed.
    """
    samples = read_split(data_dir, "train", val_share, test_share)
    arrays = {name: _stored(value) for name, value in asdict(fit_pair_model(samples)).items()}
    with atomic_path(Path(out)) as temporary:
        temporary.write_bytes(save(arrays))
    print(f"{out}: region-pair model fitted to {len(samples)} images")


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    """Use the smallest type that holds the values."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    return values.astype(np.int16) if values.dtype == np.int32 else values


def fit_pair_model(samples: list[OrderedRegions], seed: int = 0) -> BoostedTrees:
    """Fit a region-pair model.

    Args:
        samples: Images to fit to.
        seed: Seed of the sampled pairs and of the fit.

    Raises:
        InputError: scikit-learn is not installed.
    """
    require_package("sklearn")
    from sklearn.ensemble import HistGradientBoostingClassifier  # only needed here

    rng = np.random.default_rng(seed)
    rows, targets, weights = [], [], []
    for sample in samples:
        first, second, weight = sampled_pairs(sample, rng)
        for one, other in ((first, second), (second, first)):
            rows.append(pair_rows(sample.graph, one, other))
            targets.append(sample.orders[one] > sample.orders[other])
            weights.append(weight)
    weight = np.concatenate(weights)
    model = HistGradientBoostingClassifier(**SETTINGS, random_state=seed)
    model.fit(np.concatenate(rows), np.concatenate(targets), sample_weight=weight / weight.mean())
    return to_arrays(model)


def sampled_pairs(sample: OrderedRegions, rng: np.random.Generator) -> tuple[Pairs, Pairs, NDArray[np.float64]]:
    """Draw adjacent pairs of regions of different layers, by the root of their common boundary.

    Args:
        sample: An image.
        rng: Source of random numbers.

    Returns:
        (R,) the first and the second regions, and the weights.
    """
    first, second = sample.graph.pairs.T.astype(np.int64)
    orders, weights = sample.orders, np.sqrt(sample.graph.contacts.astype(np.float64))
    weights = np.where(orders[first] != orders[second], weights, 0)
    count = min(PAIRS_PER_IMAGE, int(np.count_nonzero(weights)))
    none = np.zeros(0, np.int64)
    chosen = rng.choice(len(weights), count, replace=False, p=weights / weights.sum()) if count else none
    with_background = (orders[first[chosen]] == 0) | (orders[second[chosen]] == 0)
    return first[chosen], second[chosen], np.where(with_background, BACKGROUND_WEIGHT, 1.0) / max(1, count)


def to_arrays(model: object) -> BoostedTrees:
    """Copy the trees of a fitted HistGradientBoostingClassifier into arrays.

    It keeps its nodes in the private attribute ``_predictors``; tried with scikit-learn 1.9.
    """
    trees = [stage[0].nodes for stage in model._predictors]  # type: ignore[attr-defined]
    size = max(len(nodes) for nodes in trees)
    arrays = {name: np.zeros((len(trees), size), np.float64) for name in NODE_FIELDS}
    for place, nodes in enumerate(trees):
        leaf = nodes["is_leaf"].astype(bool)
        for name, source in NODE_FIELDS.items():
            arrays[name][place, : len(nodes)] = np.where(leaf == (name == "value"), nodes[source], 0)
        arrays["feature"][place, : len(nodes)][leaf] = -1
    return BoostedTrees.from_arrays(arrays)
