"""One pair as a separate dataset, and the check of pairs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from formats.aerial_megadepth import read_split
from formats.errors import InputError
from formats.exr import write_depth
from prepare.single_pair import check_pairs, single_pair
from tests.support.aerial_scene import write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("aerial"))


@pytest.fixture
def own_scene(scene: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scene, tmp_path / "aerial")


def take(root: Path, out: Path, **arguments: Any) -> None:
    single_pair(root, root / "seg", root / "train.npz", out, **arguments)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_layout_and_content(scene: Path, tmp_path: Path) -> None:
    take(scene, tmp_path / "out", pair_index=2)
    images = [f"0002/{name}.{kind}" for name in ("0001_083.jpeg", "y.png") for kind in ("jpg", "exr", "npz")]
    masks = ["seg/0002/0001_083.jpeg.png", "seg/0002/y.png.png"]
    written = contents(tmp_path / "out")
    assert sorted(written) == sorted([*images, *masks, "train.npz", "val.npz"])
    source = contents(scene)
    assert all(written[name] == source[name] for name in images + masks)
    for name in ("train.npz", "val.npz"):
        split = read_split(tmp_path / "out" / name)
        assert split.pairs.tolist() == [[0, 1]]
        assert split.image(0) == ("0002", "0001_083.jpeg")
        assert split.scores.tolist() == [read_split(scene / "train.npz").scores[2]]


def test_what_is_loaded_is_the_pair(scene: Path, tmp_path: Path) -> None:
    def first(root: Path, place: int) -> dict[str, Any]:
        data = AerialMegaDepthDataModule(str(root), str(root / "seg"), image_size=56, num_workers=0)
        data.setup("fit")
        return dict(data.datasets["train"].__getitems__([place]))

    take(scene, tmp_path / "out", pair_index=1)
    taken, original = first(tmp_path / "out", 0), first(scene, 1)
    assert taken["seq_name"] == ["aerial_megadepth_0001_0"]
    for key in ("images", "depths", "extrinsics", "intrinsics", "world_points"):
        assert (taken[key] == original[key]).all()


def test_the_configuration_names_the_data(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    take(scene, out, create_config=True)
    config = yaml.safe_load((out / "single_pair.yaml").read_text())
    data = AerialMegaDepthDataModule(**config["data"]["init_args"])
    data.prepare_data()
    data.setup("fit")
    assert len(data.datasets["train"]) == len(data.datasets["val"]) == 1
    assert config["data"]["class_path"] == "AerialMegaDepthDataModule"
    assert data.datasets["val"].files(0)[0].mask == out / "seg" / "0001" / "a.jpg.png"
    assert config["trainer"]["max_epochs"] == 100


def test_a_second_run_changes_nothing_and_another_pair_is_refused(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    take(scene, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    take(scene, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match=r"train\.npz: exists with other content"):
        take(scene, out, pair_index=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_an_index_out_of_range_names_the_range(scene: Path, tmp_path: Path, index: int) -> None:
    with pytest.raises(InputError, match=rf"{index} is out of range: .*train\.npz has pairs 0 to 2"):
        take(scene, tmp_path / "out", pair_index=index)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("0001/b.jpg.exr", "depth"),
        ("0001/b.jpg.jpg", "image"),
        ("0001/a.jpg.npz", "camera"),
        ("seg/0001/b.jpg.png", "mask"),
    ],
)
def test_missing_files_are_named_before_anything_is_written(
    own_scene: Path, tmp_path: Path, name: str, kind: str
) -> None:
    (own_scene / name).unlink()
    with pytest.raises(InputError, match=rf"{name.replace('.', '[.]')}: the {kind} of pair 0 is missing"):
        take(own_scene, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pair_of_two_scenes_takes_each_image_from_its_own(
    own_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(own_scene / "train.npz") as arrays:
        table = {key: arrays[key] for key in arrays.files}
    table["pairs"] = np.array([[0, 1, 4, 0.5]])  # counted to scene 0001, while image 4 lies in 0002
    np.savez(own_scene / "train.npz", **table)
    take(own_scene, tmp_path / "out")
    assert "pair 0 spans two scenes, 0001 and 0002" in capsys.readouterr().out
    assert (tmp_path / "out" / "0002" / "y.png.exr").is_file()
    assert read_split(tmp_path / "out" / "val.npz").images_scene_name == ["0001", "0002"]


def test_the_check_prints_what_training_sees(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_pairs(scene, scene / "seg", scene / "val.npz", image_size=56)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "aerial_megadepth_0001_0"
    assert lines[1] == f"  {scene / '0001' / 'a.jpg.jpg'}"
    assert "image 3×42×56  depth 42×56  extrinsics 3×4  intrinsics 3×3" in lines[2]
    data = AerialMegaDepthDataModule(str(scene), str(scene / "seg"), image_size=56, num_workers=0)
    data.setup("validate")
    depth = data.datasets["val"].__getitems__([0])["depths"][0, 0]
    count, valid = int((depth > 0).sum()), depth[depth > 0]
    assert f"valid depth {count} of 2352 pixels ({100 * count / 2352:.1f} %)" in lines[3]
    assert f"range {valid.min():.2f} to {valid.max():.2f} m" in lines[3]
    assert lines[-1].endswith("val.npz: 2 of 2 pairs checked, all can be used")


def test_the_check_names_every_pair_that_cannot_be_used(own_scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_depth(own_scene / "0001" / "a.jpg.exr", np.zeros((72, 96), np.float32))
    (own_scene / "seg" / "0002" / "y.png.png").unlink()
    with pytest.raises(InputError, match=r"train\.npz: 2 of 3 pairs cannot be used"):
        check_pairs(own_scene, own_scene / "seg", image_size=56)
    out = capsys.readouterr().out
    assert "aerial_megadepth_0002_2: " in out
    assert "y.png.png: no such file" in out
    assert "a.jpg.exr: has no valid depth within 2000 m outside the sky" in out
    assert "aerial_megadepth_0001_1\n" in out


def test_a_part_can_be_checked(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_pairs(scene, image_size=56, limit=1)
    assert "1 of 3 pairs checked" in capsys.readouterr().out
    with pytest.raises(InputError, match="--image_size: must be a positive multiple of 14, not 100"):
        check_pairs(scene, image_size=100)
