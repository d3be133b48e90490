"""The region order module without a trainer: weights, prediction, losses, and test on images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from batches.layers import LayerBatch
from batches.regions import RegionBatch
from datamodules.region_graphs import OrderedRegions, RegionGraphDataset
from decomposition.region_graph import PAIR_FEATURES
from decomposition.region_pair_model import join_background
from decomposition.region_rules import RULES
from formats.errors import InputError
from lightning_modules.region_order import PAIR_MODEL, RegionOrderModule, normalised, paint
from metrics.layer_order import LayerOrder
from networks.region_order import RegionOrderConfig
from networks.shipped_weights import REQUIRED, available, load_shipped, save_shipped
from prepare.region_graphs import ordered_regions
from simulators.illustration.scenes import random_illustration

CONFIG = RegionOrderConfig(width=16, depth=1, num_heads=2)
# One tree: the larger region of a pair is in front.
TREES = {
    "feature": torch.tensor([[PAIR_FEATURES.index("log_area_ratio"), -1, -1]]),
    "threshold": torch.zeros(1, 3),
    "missing_left": torch.zeros(1, 3, dtype=torch.uint8),
    "left": torch.tensor([[1, 0, 0]]),
    "right": torch.tensor([[2, 0, 0]]),
    "value": torch.tensor([[0.0, -1.0, 1.0]]),
}
CARD = dict.fromkeys(REQUIRED, "x") | {"network": asdict(CONFIG)}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionOrderModule:
    """A module that finds random weights in the repository."""
    torch.manual_seed(0)
    module = RegionOrderModule(CONFIG, weights="test")
    tensors = {f"networks.0.{name}": value for name, value in module.network.state_dict().items()}
    tensors |= {f"pair_model.{name}": value for name, value in TREES.items()}
    save_shipped("test", tensors, CARD, tmp_path)
    monkeypatch.setattr("lightning_modules.region_order.load_shipped", lambda name: load_shipped(name, folder=tmp_path))
    monkeypatch.setattr("lightning_modules.region_order.available", lambda: available(tmp_path))
    return module


def images(count: int = 2, size: int = 96) -> LayerBatch:
    drawn = [random_illustration(seed, size) for seed in range(count)]
    orders = torch.from_numpy(np.stack([drawing.orders for drawing in drawn]).astype(np.int32))
    return {
        "images": torch.from_numpy(np.stack([drawing.image for drawing in drawn])).permute(0, 3, 1, 2),
        "orders": orders,
        "layer_counts": orders.amax((1, 2)).long(),
        "masks": torch.ones_like(orders, dtype=torch.bool),
        "names": [f"a/{place}" for place in range(count)],
        "weights": torch.ones(count),
    }


def ordered(seed: int = 0) -> OrderedRegions:
    measured = ordered_regions(*random_illustration(seed, 96)[:2])
    assert measured is not None
    return OrderedRegions(*measured)


def regions() -> RegionBatch:
    return RegionGraphDataset([ordered(seed) for seed in range(3)]).__getitems__([0, 1, -1, 2])


def test_the_index_is_constant_within_regions_and_has_the_size_of_the_image(module: RegionOrderModule) -> None:
    batch = (
        torch.randint(0, 2, (2, 3, 40, 60), dtype=torch.uint8).repeat_interleave(16, 2).repeat_interleave(16, 3) * 255
    )
    index = module.predict_index(batch)
    assert index.shape == (2, 640, 960)
    assert index.dtype == torch.float32
    assert index.min() == 0
    assert index.max() == 1
    assert len(index[0].unique()) <= 160


def test_prediction_uses_weights_from_the_repository_and_says_so(
    module: RegionOrderModule, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {name: value.clone() for name, value in module.network.state_dict().items()}
    torch.nn.init.zeros_(module.network.height.weight)
    module.predict_index(images()["images"])
    assert torch.equal(module.network.height.weight, expected["height.weight"])
    module.predict_index(images()["images"])
    assert capsys.readouterr().out.count("weights 'test' from the repository") == 1


def test_weights_of_another_size_are_refused(module: RegionOrderModule) -> None:
    other = RegionOrderModule(RegionOrderConfig(width=32, depth=1, num_heads=2), weights="test")
    with pytest.raises(InputError, match="does not fit the sizes"):
        other.predict_index(images()["images"])


def test_a_single_colour_is_one_layer(module: RegionOrderModule) -> None:
    assert (module.predict_index(torch.full((1, 3, 20, 30), 200, dtype=torch.uint8)) == 0).all()


def test_training_lowers_the_loss(module: RegionOrderModule) -> None:
    batch = regions()
    optimizer = torch.optim.AdamW(module.network.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        terms = module.losses(batch)
        losses.append(terms["loss"].item())
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_images_without_regions_do_not_count(module: RegionOrderModule) -> None:
    batch = regions()
    module.evaluate(batch)
    assert module.region_order.images.tolist()[1] == 3


def test_baselines_are_measured_on_the_same_images(module: RegionOrderModule) -> None:
    module.use_shipped_weights()
    batch = images(3)
    batch["weights"][2] = 0
    module.evaluate(batch)
    assert set(module.baseline_orders) == {*RULES, PAIR_MODEL}
    for metric in (module.order, *module.baseline_orders.values()):
        assert int(cast(LayerOrder, metric).rows) == 2


def test_the_pair_model_is_a_baseline_for_checkpoints_too(module: RegionOrderModule) -> None:
    module.on_load_checkpoint({})
    module.on_test_start()
    (sample,) = RegionGraphDataset([ordered()]).samples
    heights = module.baseline_heights(sample.graph)
    assert list(heights) == [*RULES, PAIR_MODEL]
    first, second = sample.graph.pairs.T
    larger = sample.graph.areas[first] > sample.graph.areas[second]
    assert ((heights[PAIR_MODEL][first] > heights[PAIR_MODEL][second]) == larger).mean() > 0.7


def test_the_heights_of_all_networks_are_averaged(module: RegionOrderModule) -> None:
    torch.manual_seed(1)
    other = RegionOrderModule(CONFIG).network.state_dict()
    tensors = {f"networks.0.{name}": value for name, value in module.network.state_dict().items()}
    tensors |= {f"networks.1.{name}": value for name, value in other.items()}
    module.eval().use_parts(tensors, "test")
    graph = ordered().graph
    first, second = module.network_heights(graph)
    for heights in (first, second):
        assert heights.mean() == pytest.approx(0, abs=1e-9)
        assert heights.std() == pytest.approx(1)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(module.graph_heights(graph), join_background(graph, first + second))
    module.use_parts(tensors | {f"pair_model.{name}": value for name, value in TREES.items()}, "test")
    third = normalised(module.baseline_heights(graph)[PAIR_MODEL])
    np.testing.assert_allclose(module.graph_heights(graph), join_background(graph, first + second + third))


def test_paint_stretches_heights() -> None:
    index = paint(np.array([-3.0, 5.0, 1.0]), np.array([[0, 1], [2, 0]], np.int32))
    assert index.tolist() == [[0, 1], [0.5, 0]]
    assert paint(np.zeros(1), np.zeros((1, 2), np.int32)).tolist() == [[0, 0]]
