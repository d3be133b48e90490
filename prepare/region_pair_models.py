"""Fit the region-pair models: boosted trees on pairs of regions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from datamodules.region_graphs import OrderedRegions, read_split
from decomposition.region_pair_model import AREA_POWER, BoostedTrees, Pairs, large_pairs, pair_rows
from formats.atomic import atomic_path
from formats.errors import InputError, check_settings

PAIRS_PER_IMAGE = 20  # of adjacent regions, and of large ones
BACKGROUND_WEIGHT = 0.5  # of pairs with the background
LARGE_WEIGHT = 1.5  # of an image's pairs of large regions, against its adjacent pairs
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


def region_pair_models(
    data_dir: list[str], out: str, val_share: float = 0.1, test_share: float = 0.1, num_seeds: int = 1
) -> None:
    """Fit boosted trees that say which of two regions is in front.

    Writes ``<out>``, a safetensors file of arrays of `decomposition.region_pair_model.BoostedTrees`:
    ``trees.0.…``, ``trees.1.…``, one per seed, are fitted to adjacent pairs of regions and to pairs of large ones;
    ``pair_model.…``, the baseline, to adjacent pairs only.

    Args:
        data_dir: Folders that ``prepare region-graphs`` wrote; their training split is used.
        out: File of the trees.
        val_share: Share of the images that are left for validation, as in ``RegionGraphDataModule``.
        test_share: Share of the images that are left for the test.
        num_seeds: Number of models, fitted with the seeds 0, 1, ….

    Raises:
        InputError: A folder has no region graphs, a setting is out of range, or scikit-learn is not installed.
    """
    check_settings({"--num_seeds": ("1 or more", num_seeds >= 1)})
    samples = read_split(data_dir, "train", val_share, test_share)
    models = {f"trees.{seed}": fit_pair_model(samples, distant=True, seed=seed) for seed in range(num_seeds)}
    models["pair_model"] = fit_pair_model(samples, distant=False)
    arrays = {
        f"{name}.{part}": _stored(value) for name, trees in models.items() for part, value in asdict(trees).items()
    }
    with atomic_path(Path(out)) as temporary:
        temporary.write_bytes(save(arrays))
    print(f"{out}: {len(models)} models fitted to {len(samples)} images")


def _stored(values: NDArray[Any]) -> NDArray[Any]:
    """Use the smallest type that holds the values."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    return values.astype(np.int16) if values.dtype == np.int32 else values


def fit_pair_model(samples: list[OrderedRegions], distant: bool, seed: int = 0) -> BoostedTrees:
    """Fit a region-pair model.

    Args:
        samples: Images to fit to.
        distant: Whether pairs of large regions are learnt next to adjacent pairs.
        seed: Seed of the sampled pairs and of the fit.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # optional, and only needed here
    except ImportError as error:
        remedy = "Install it with pip install 'trilight[weights]'."
        raise InputError("scikit-learn", "is not installed, and the region-pair model needs it", remedy) from error

    rng = np.random.default_rng(seed)
    rows, targets, weights = [], [], []
    for sample in samples:
        first, second, weight = sampled_pairs(sample, rng, distant)
        for one, other in ((first, second), (second, first)):
            rows.append(pair_rows(sample.graph, one, other))
            targets.append(sample.orders[one] > sample.orders[other])
            weights.append(weight)
    weight = np.concatenate(weights)
    model = HistGradientBoostingClassifier(**SETTINGS, random_state=seed)
    model.fit(np.concatenate(rows), np.concatenate(targets), sample_weight=weight / weight.mean())
    return to_arrays(model)


def sampled_pairs(
    sample: OrderedRegions, rng: np.random.Generator, distant: bool
) -> tuple[Pairs, Pairs, NDArray[np.float64]]:
    """Draw pairs of regions of different layers to fit to, and their weights.

    Adjacent pairs are drawn by the root of their common boundary, pairs of large regions by their areas.

    Args:
        sample: An image.
        rng: Source of random numbers.
        distant: Whether pairs of large regions are drawn too.

    Returns:
        (R,) the first and the second regions, and the weights.
    """
    first, second = sample.graph.pairs.T.astype(np.int64)
    orders, weights = sample.orders, np.sqrt(sample.graph.contacts.astype(np.float64))
    chosen = _drawn(np.where(orders[first] != orders[second], weights, 0), rng)
    with_background = (orders[first[chosen]] == 0) | (orders[second[chosen]] == 0)
    pairs = [(first[chosen], second[chosen], np.where(with_background, BACKGROUND_WEIGHT, 1.0) / max(1, len(chosen)))]
    if distant:
        first, second = large_pairs(sample.graph)
        share = sample.graph.areas.astype(np.float64) / sample.graph.areas.sum()
        counts = (orders[first] != orders[second]) & (orders[first] > 0) & (orders[second] > 0)
        chosen = _drawn(np.where(counts, (share[first] * share[second]) ** AREA_POWER, 0), rng)
        pairs.append((first[chosen], second[chosen], np.full(len(chosen), LARGE_WEIGHT / max(1, len(chosen)))))
    columns = [np.concatenate(column) for column in zip(*pairs, strict=True)]
    return columns[0], columns[1], columns[2]


def _drawn(weights: NDArray[np.float64], rng: np.random.Generator) -> Pairs:
    count = min(PAIRS_PER_IMAGE, int(np.count_nonzero(weights)))
    return rng.choice(len(weights), count, replace=False, p=weights / weights.sum()) if count else np.zeros(0, np.int64)


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
