"""Measures of region orders on the pixels of layered art, with baselines and what the regions allow."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.layered_art_dataset import ArtFile, SplitName, first_samples, split_of
from decomposition.colour_regions import colour_regions
from decomposition.region_graph import RegionGraph, region_graph
from decomposition.region_pair_model import join_background
from formats.errors import InputError
from formats.layered_art.layouts import open_layered_art
from lightning_modules.region_order import RegionOrderModule, paint
from metrics.layer_order import LayerOrder
from prepare.region_graphs import region_orders

# Name on the card → measure of LayerOrder.
MEASURES = {
    "without_background": "foreground_order_accuracy",
    "all_pairs": "order_accuracy",
    "at_outlines": "neighbour_order_accuracy",
    "boundary_f1": "boundary_f1",
}
OURS, TRUE_ORDER = "weights", "true order of the regions"


def measure(
    data_dir: Path,
    module: RegionOrderModule,
    split: SplitName | None,
    shares: tuple[float, float] = (0.1, 0.1),
    limit: int | None = None,
) -> dict[str, dict[str, float]]:
    """Measure the weights of a module, each of its networks, baselines and the true order of the same regions.

    Images of a single region are left out.

    Args:
        data_dir: Folder of layered art.
        module: Module with its weights.
        split: Split to measure; None measures all images.
        shares: Shares of the images for validation and test.
        limit: Largest number of images, chosen by a hash of their names.

    Returns:
        ``MEASURES`` by method, rounded to three digits, and the number of images.

    Raises:
        InputError: No image falls into the split.
    """
    art = open_layered_art(data_dir, "auto")
    chosen = [sample for sample in art.samples if split is None or split in split_of(sample, *shares, 0)]
    if not chosen:
        raise InputError(data_dir, f"no image falls into the split '{split}'", "Give more images.")
    metrics: dict[str, LayerOrder] = defaultdict(LayerOrder)
    for _, sample in first_samples((ArtFile(art, sample) for sample in chosen), limit, 0):
        image, orders, layer_count = art.read(sample)
        labels = colour_regions(image)
        if not labels.any():
            continue
        graph = region_graph(image, labels)
        heights = {TRUE_ORDER: region_orders(labels, orders).astype(np.float64), OURS: module.graph_heights(graph)}
        heights |= {**module.baseline_heights(graph), **_by_seed(module, graph)}
        true_orders = torch.from_numpy(orders.astype(np.int32))[None]
        everywhere = torch.ones_like(true_orders, dtype=torch.bool)
        for name in heights:
            index = paint(heights[name], labels)[None]
            metrics[name].update(index, true_orders, torch.tensor([layer_count]), everywhere, torch.ones(1))
    return {name: {"images": int(metric.rows), **_values(metric)} for name, metric in metrics.items()}


def _by_seed(module: RegionOrderModule, graph: RegionGraph) -> dict[str, NDArray[np.float64]]:
    """Order regions by the network of each seed alone, as ``seed <n>``."""
    heights = module.network_heights(graph)
    return {f"seed {number}": join_background(graph, own) for number, own in enumerate(heights)}


def _values(metric: LayerOrder) -> dict[str, float]:
    values = metric.compute()
    return {name: round(float(values[measured]), 3) for name, measured in MEASURES.items()}
