"""From SVG files to the weights that order colour regions: the models of trees, the measures, and the card."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cli import main
from datamodules.layered_art_dataset import sample_number
from datamodules.region_graphs import OrderedRegions
from decomposition.region_pair_model import pair_rows
from formats.errors import InputError
from formats.layered_art.base import ArtSample
from lightning_modules.region_order import PAIR_MODEL, RegionOrderModule
from networks.region_order import RegionOrderConfig
from networks.shipped_weights import load_shipped
from prepare.region_graphs import ordered_regions
from prepare.region_order_measures import MEASURES, OURS, TRUE_ORDER, measure
from prepare.region_order_weights import BARS, judged, region_order, spread
from prepare.region_pair_model import fit_pair_model, sampled_pairs
from simulators.illustration.scenes import random_illustration

CONFIG = RegionOrderConfig(width=16, depth=1, num_heads=2)


def samples(count: int) -> list[OrderedRegions]:
    measured = [ordered_regions(*random_illustration(seed, 64)[:2]) for seed in range(count)]
    return [OrderedRegions(*pair) for pair in measured if pair is not None]


@pytest.fixture
def art(tmp_path: Path) -> Path:
    main(["prepare", "illustrations-sample", f"--out={tmp_path}/art", "--num_images=12", "--size=64"])
    return tmp_path / "art"


def test_a_missing_folder_of_drawings_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing: no such folder\. Install the Debian package openclipart-svg"):
        region_order(output_dir=tmp_path / "run", svg_dir=tmp_path / "missing")
    assert not (tmp_path / "run").exists()


def test_without_scikit_learn_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"sklearn: is not installed.*trilight\[weights\]") as raised:
        fit_pair_model([])
    assert "\n" not in str(raised.value)


def test_drawn_pairs_are_of_different_layers_and_weigh_one_image() -> None:
    (sample,) = samples(1)
    sample = replace(sample, orders=np.minimum(sample.orders, 2))  # adjacent regions of one layer
    first, second = sample.graph.pairs.T
    assert (sample.orders[first] == sample.orders[second]).any()
    first, second, weights = sampled_pairs(sample, np.random.default_rng(0))
    assert (sample.orders[first] != sample.orders[second]).all()
    adjacent = {tuple(pair) for pair in sample.graph.pairs.tolist()}
    assert {*zip(first.tolist(), second.tolist(), strict=True)} <= adjacent
    assert 0.5 <= weights.sum() < 1.001


@pytest.mark.slow
def test_stored_trees_answer_as_the_library_that_fitted_them() -> None:
    training = samples(12)
    trees = fit_pair_model(training)
    again = fit_pair_model(training)
    for name, values in asdict(trees).items():
        assert np.array_equal(values, asdict(again)[name])
    right = []
    for sample in training:
        first, second = sample.graph.pairs.T.astype(np.int64)
        logits = trees.predict(pair_rows(sample.graph, first, second))
        difference = sample.orders[first] - sample.orders[second]
        right += (np.sign(logits) == np.sign(difference))[difference != 0].tolist()
    assert np.mean(right) > 0.8


@pytest.mark.slow
def test_region_graphs_of_a_limit_are_those_of_the_smallest_hashes(art: Path, tmp_path: Path) -> None:
    words = [
        "prepare",
        "region-graphs",
        f"--data_dir={art}",
        f"--out={tmp_path}/graphs",
        "--limit=5",
        "--num_workers=1",
    ]
    for _ in range(2):  # the second run adds nothing
        main(words)
    names = [(path.parent.name, path.stem) for path in art.glob("images/*/*.png")]
    names.sort(key=lambda name: sample_number("limit", 0, ArtSample(name[0], name[1], Path())))
    written = {(path.parent.name, path.stem) for path in (tmp_path / "graphs").glob("*/*.safetensors")}
    assert written == set(names[:5])


def test_all_methods_are_measured_on_the_same_images(art: Path) -> None:
    torch.manual_seed(0)
    module = RegionOrderModule(CONFIG).eval()
    state = module.network.state_dict()
    module.use_parts({f"networks.0.{name}": value for name, value in state.items()}, "test")
    result = measure(art, module, None)
    assert {values["images"] for values in result.values()} == {12}
    assert result[TRUE_ORDER]["without_background"] > 0.85
    assert result["seed 0"] == result[OURS]
    assert 0.5 < result["smaller_on_top"]["without_background"] < result[TRUE_ORDER]["without_background"]
    assert measure(art, module, None, limit=3)[OURS]["images"] == 3
    held_out = measure(art, module, "test", (0.2, 0.4))[OURS]["images"]
    assert 0 < held_out < 12
    with pytest.raises(InputError, match="no image falls into the split 'test'"):
        measure(art, module, "test", (0.2, 0.0))


def test_bars_are_judged_and_the_spread_is_that_of_single_seeds() -> None:
    good = {**BARS, "images": 9}
    pairs = {**good, "without_background": 0.712}
    held_out = {OURS: good, "seed 0": good, "seed 1": {**good, "without_background": 0.72}, PAIR_MODEL: pairs}
    icons = {OURS: {**good, "without_background": 0.74}, PAIR_MODEL: pairs}
    assert spread(held_out) == {**dict.fromkeys(MEASURES, 0.0), "without_background": 0.02}
    bars = judged({"clipart": held_out, "icons": icons})
    assert [bar["met"] for bar in bars.values()] == [True] * 4 + [False]
    assert bars["icons, above the region-pair model"]["value"] == 0.028


DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">
<rect x="10" y="{top}" width="70" height="60" fill="#3050a0"/><circle cx="{middle}" cy="50" r="18" fill="#f0d020"/>
<path d="M20 {top} h40 v12 h-40 z" fill="#c02020"/></svg>"""


@pytest.mark.slow
def test_weights_are_made_from_svg_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "svg").mkdir()
    for number in range(40):
        top, middle = rng.integers(5, 35), rng.integers(25, 75)
        (tmp_path / "svg" / f"{number}.svg").write_text(DRAWING.format(top=top, middle=middle))
    words = ["pipeline", "region-order", f"--svg_dir={tmp_path}/svg", f"--output_dir={tmp_path}/run"]
    words += [f"--data_dir={tmp_path}/data", f"--weights_dir={tmp_path}/weights", "--num_simulated=4"]
    words += ["--max_epochs=1", "--num_drawings=38"]
    (tmp_path / "weights").mkdir()
    main(words)
    weights = load_shipped("region_order", tmp_path / "weights")
    assert {name.partition(".")[0] for name in weights.tensors} == {"networks", PAIR_MODEL}
    assert weights.card["measures"]["clipart"][OURS]["all_pairs"] > 0.5
    assert set(weights.card["spread_over_seeds"]) == set(MEASURES)
    record = (tmp_path / "run" / "pipeline.json").stat().st_mtime_ns
    main(words)  # every stage is finished
    assert (tmp_path / "run" / "pipeline.json").stat().st_mtime_ns == record
