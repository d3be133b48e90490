"""Accuracy of the shipped region order, of simple rules and of the region-pair model on sets of layered art.

python -m benchmarks.layer_baselines --train data/clipart_regions --sets data/clipart_regions data/icons_regions \
    --out benchmarks/results/layer_baselines.json

The folders are those that ``prepare region-graphs`` writes. All methods order the same regions; ``true order`` is what
the regions allow. The region-pair model is gradient boosting on adjacent pairs of regions (scikit-learn, which only
this benchmark needs), solved to a global order by least squares. The first 10 % of a training set by hash are left for
the test, as configs/region_order.yaml does; other sets are measured whole.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.layered_art_dataset import split_of
from datamodules.region_graphs import OrderedRegions, read_ordered_regions
from decomposition.region_graph import REGION_FEATURES, RegionGraph
from decomposition.region_pair_model import (
    AREA_POWER,
    BoostedTrees,
    Pairs,
    large_pairs,
    pair_model_heights,
    pair_rows,
)
from formats.atomic import write_json
from formats.layered_art.base import ArtSample
from lightning_modules.region_order import RegionOrderModule
from metrics.region_order import RegionOrder

PAIRS_PER_IMAGE = 60

Heights = Callable[[RegionGraph], NDArray[np.floating]]


def column(graph: RegionGraph, name: str) -> NDArray[np.float32]:
    """Return one measurement of all regions."""
    return graph.regions[:, REGION_FEATURES.index(name)]


RULES: dict[str, Heights] = {
    "unlike the border": lambda graph: column(graph, "border_colour_step"),
    "smaller on top": lambda graph: -graph.areas,
    "nearer the centre": lambda graph: -column(graph, "offset_from_centre"),
}


def sampled_pairs(
    sample: OrderedRegions, rng: np.random.Generator, distant: bool
) -> tuple[Pairs, Pairs, NDArray[np.float64]]:
    """Draw pairs of an image to fit on: the first and second regions, and their weights.

    Adjacent pairs count by the root of their common boundary; pairs of large regions, adjacent or not, by their areas.
    """
    first, second = sample.graph.pairs[:, 0].astype(np.int64), sample.graph.pairs[:, 1].astype(np.int64)
    weights = np.sqrt(sample.graph.contacts.astype(np.float64))
    differ = sample.orders[first] != sample.orders[second]
    chosen = _drawn(np.where(differ, weights, 0), rng)
    with_background = (sample.orders[first[chosen]] == 0) | (sample.orders[second[chosen]] == 0)
    weight = np.where(with_background, 0.5, 1.0) / max(1, len(chosen))
    pairs = [(first[chosen], second[chosen], weight)]
    if distant:
        first, second = large_pairs(sample.graph)
        one, other = sample.orders[first], sample.orders[second]
        share = sample.graph.areas.astype(np.float64) / sample.graph.areas.sum()
        products = (share[first] * share[second]) ** AREA_POWER
        chosen = _drawn(np.where((one != other) & (one > 0) & (other > 0), products, 0), rng)
        pairs.append((first[chosen], second[chosen], np.full(len(chosen), 1.5 / max(1, len(chosen)))))
    columns = [np.concatenate(column) for column in zip(*pairs, strict=True)]
    return columns[0], columns[1], columns[2]


def _drawn(weights: NDArray[np.float64], rng: np.random.Generator) -> Pairs:
    count = min(PAIRS_PER_IMAGE, int(np.count_nonzero(weights)))
    return rng.choice(len(weights), count, replace=False, p=weights / weights.sum()) if count else np.zeros(0, np.int64)


def fit_pair_model(samples: list[OrderedRegions], distant: bool, seed: int = 0) -> BoostedTrees:
    """Fit the region-pair model to adjacent pairs, or to those and all pairs of large regions."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    rows, targets, weights = [], [], []
    for sample in samples:
        first, second, weight = sampled_pairs(sample, rng, distant)
        for one, other in ((first, second), (second, first)):
            rows.append(pair_rows(sample.graph, one, other))
            targets.append(sample.orders[one] > sample.orders[other])
            weights.append(weight)
    weight = np.concatenate(weights)
    model = HistGradientBoostingClassifier(
        max_iter=140,
        learning_rate=0.08,
        max_leaf_nodes=24,
        min_samples_leaf=60,
        l2_regularization=2.0,
        max_features=0.5,
        random_state=seed,
    )
    model.fit(np.concatenate(rows), np.concatenate(targets), sample_weight=weight / weight.mean())
    return to_arrays(model)


def to_arrays(model: object) -> BoostedTrees:
    """Copy the trees of a fitted HistGradientBoostingClassifier into arrays.

    It keeps its nodes in the private attribute ``_predictors``; tried with scikit-learn 1.9.
    """
    trees = [stage[0].nodes for stage in model._predictors]  # type: ignore[attr-defined]
    sources = {
        "feature": "feature_idx",
        "threshold": "num_threshold",
        "missing_left": "missing_go_to_left",
        "left": "left",
        "right": "right",
        "value": "value",
    }
    size = max(len(nodes) for nodes in trees)
    arrays = {name: np.zeros((len(trees), size), np.float64) for name in sources}
    for place, nodes in enumerate(trees):
        leaf = nodes["is_leaf"].astype(bool)
        for name, source in sources.items():
            arrays[name][place, : len(nodes)] = np.where(leaf == (name == "value"), nodes[source], 0)
        arrays["feature"][place, : len(nodes)][leaf] = -1
    return BoostedTrees.from_arrays(arrays)


def shipped_heights(weights: str) -> Heights:
    """Return the order by weights from the repository as a function from graphs to heights."""
    module = RegionOrderModule(weights=weights).eval()
    module.use_shipped_weights()
    return module.graph_heights


def accuracy(
    samples: list[OrderedRegions], method: Callable[[OrderedRegions], NDArray[np.floating]]
) -> dict[str, float]:
    """Measure a method on samples: order accuracy without and with the background, and at contacts."""
    metric = RegionOrder()
    at_contacts = []
    for sample in samples:
        heights = np.asarray(method(sample), np.float64)
        values = (heights, sample.orders, sample.graph.areas)
        found, true_orders, areas = (torch.from_numpy(np.asarray(x))[None] for x in values)
        metric.update(found, true_orders, areas, torch.ones(1, len(heights), dtype=torch.bool))
        first, second = sample.graph.pairs.T
        true = np.sign(sample.orders[first] - sample.orders[second])
        weights = sample.graph.contacts * (true != 0)
        if weights.sum():
            agrees = 0.5 + 0.5 * true * np.sign(heights[first] - heights[second])
            at_contacts.append(float((weights * agrees).sum() / weights.sum()))
    rounded = {name: round(float(value), 3) for name, value in metric.compute().items()}
    return rounded | {"contact_accuracy": round(float(np.mean(at_contacts)), 3), "images": len(samples)}


def read_set(folder: Path, split: str | None) -> list[OrderedRegions]:
    paths = sorted(folder.glob("*/*.safetensors"))
    if split:
        paths = [p for p in paths if split in split_of(ArtSample(p.parent.name, p.stem, p), 0.1, 0.1, 0)]
    return [read_ordered_regions(path) for path in paths]


def _by_rule(rule: Heights, sample: OrderedRegions) -> NDArray[np.floating]:
    return rule(sample.graph)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="region graphs that the network was trained on")
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="folders of region graphs to measure")
    parser.add_argument("--weights", default="region_order", help="weights from the repository")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    trees = fit_pair_model(read_set(arguments.train, "train"), distant=False)
    seconds = time.process_time() - start
    methods: dict[str, Callable[[OrderedRegions], NDArray[np.floating]]] = {
        name: partial(_by_rule, rule) for name, rule in RULES.items()
    }
    shipped = shipped_heights(arguments.weights)
    methods["region-pair model"] = lambda sample: pair_model_heights(sample.graph, trees, distant_weight=0.0)
    methods["shipped weights"] = lambda sample: shipped(sample.graph)
    methods["true order"] = lambda sample: sample.orders
    results: dict[str, object] = {"device": f"{platform.machine()} CPU, 1 thread", "fit_cpu_seconds": round(seconds, 1)}
    for folder in arguments.sets:
        samples = read_set(folder, "test" if folder == arguments.train else None)
        results[folder.name] = {name: accuracy(samples, method) for name, method in methods.items()}
        print(folder.name, json.dumps(results[folder.name], indent=2), flush=True)
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    main()
