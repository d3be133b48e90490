"""The simulated data set of illustrations: its files as their reader sees them, repeatability, refusals."""

import json

import numpy as np
import pytest

from formats.errors import InputError
from formats.layered_art.pairs import layer_pair, read_layer_pair
from prepare.illustrations_sample import illustrations_sample


def files_of(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("illustrations") / "data"
    illustrations_sample(str(root), num_images=6, size=48)
    return root


def test_layout(sample):
    categories = ["object", "landscape", "object", "arrangement", "object", "landscape"]
    names = [f"{category}/{number:04d}.png" for number, category in enumerate(categories, start=1)]
    assert set(files_of(sample)) == {f"{kind}/{name}" for kind in ("images", "orders") for name in names} | {
        "simulation.json"
    }
    assert json.loads((sample / "simulation.json").read_text())["size"] == 48
    for name in names:
        category, stem = name.removesuffix(".png").split("/")
        image, orders = read_layer_pair(layer_pair(sample, category, stem))
        assert image.shape == (48, 48, 3)
        seen = np.unique(orders[orders > 0])
        assert seen.tolist() == list(range(1, len(seen) + 1))
        assert len(seen) >= 2
        changes = np.abs(np.diff(image.astype(int), axis=1)).sum(axis=2)
        edges = np.diff(orders.astype(int), axis=1) != 0
        assert changes[edges].mean() > 3 * changes[~edges].mean()  # the picture changes where the layer does


def test_run_again_it_completes_what_is_missing_and_adds_what_is_asked_for(sample, tmp_path, capsys):
    before, root = files_of(sample), tmp_path / "data"
    illustrations_sample(str(root), num_images=4, size=48)
    (root / "orders" / "object" / "0003.png").unlink()
    capsys.readouterr()
    illustrations_sample(str(root), num_images=6, size=48)
    assert "wrote 3 illustrations" in capsys.readouterr().out
    assert files_of(root) == before


def test_seeds_differ(sample, tmp_path):
    illustrations_sample(str(tmp_path / "other"), num_images=2, size=48, seed=1)
    other, one = files_of(tmp_path / "other"), files_of(sample)
    assert all(one[name] != other[name] for name in other if name.endswith(".png"))


def test_refusals(sample, tmp_path):
    with pytest.raises(InputError, match="made with other settings"):
        illustrations_sample(str(sample), num_images=6, size=64)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no data set of this tool"):
        illustrations_sample(str(tmp_path / "own"))
    for wrong in ({"num_images": 0}, {"size": 8}, {"seed": -1}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
            illustrations_sample(str(tmp_path / "new"), **wrong)
