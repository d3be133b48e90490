"""Sample data of illustrations: files, reproducibility, refused settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from formats.errors import InputError
from formats.layered_art.pairs import layer_pair, read_layer_pair
from prepare.illustrations_sample import illustrations_sample


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("illustrations") / "data"
    illustrations_sample(str(root), num_images=6, size=48)
    return root


def test_layout(sample: Path) -> None:
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
        visible = np.unique(orders[orders > 0])
        assert visible.tolist() == list(range(1, len(visible) + 1))
        assert len(visible) >= 2
        changes = np.abs(np.diff(image.astype(int), axis=1)).sum(axis=2)
        edges = np.diff(orders.astype(int), axis=1) != 0
        assert changes[edges].mean() > 3 * changes[~edges].mean()  # the image changes where the layer does


def test_a_second_run_adds_missing_and_requested_images(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, root = files_of(sample), tmp_path / "data"
    illustrations_sample(str(root), num_images=4, size=48)
    (root / "orders" / "object" / "0003.png").unlink()
    capsys.readouterr()
    illustrations_sample(str(root), num_images=6, size=48)
    assert "wrote 3 illustrations" in capsys.readouterr().out
    assert files_of(root) == before


def test_seeds_differ(sample: Path, tmp_path: Path) -> None:
    illustrations_sample(str(tmp_path / "other"), num_images=2, size=48, seed=1)
    other, one = files_of(tmp_path / "other"), files_of(sample)
    assert all(one[name] != other[name] for name in other if name.endswith(".png"))


def test_wrong_settings_and_folders_are_refused(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="made with other settings"):
        illustrations_sample(str(sample), num_images=6, size=64)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a dataset of this tool"):
        illustrations_sample(str(tmp_path / "own"))
    for wrong in ({"num_images": 0}, {"size": 8}, {"seed": -1}):
        with pytest.raises(InputError, match=f"--{next(iter(wrong))}"):
            illustrations_sample(str(tmp_path / "new"), **wrong)
