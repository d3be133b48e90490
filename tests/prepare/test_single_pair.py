"""One pair as a separate dataset."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs import FOLDER
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from formats.aerial_megadepth import read_split
from formats.errors import InputError
from prepare.single_pair import single_pair


def take(root: Path, out: Path, **arguments: Any) -> None:
    single_pair(root, output_root=out, **arguments)


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


def test_the_configuration_is_the_shipped_test_on_this_data(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out: #1"  # characters that mean something in YAML
    take(scene, out, create_config=True)
    text = (out / "single_pair.yaml").read_text()
    config, shipped = yaml.safe_load(text), yaml.safe_load((FOLDER / "pair_single_overfit.yaml").read_text())
    assert config["data"]["init_args"].pop("segmentation_dir") == str(out / "seg")
    assert config["data"]["init_args"].pop("data_dir") == str(out)
    del shipped["data"]["init_args"]["segmentation_dir"], shipped["data"]["init_args"]["data_dir"]
    assert config == shipped
    assert (
        f"# Over-fit test of one pair: ends with PASS or FAIL and a report.\n#\n#   python cli.py fit --config {out}"
        in text
    )
    assert "# all pixels count" in text


def test_the_shipped_test_is_that_of_the_guide() -> None:
    config = yaml.safe_load((FOLDER / "pair_single_overfit.yaml").read_text())
    model, data, trainer = config["model"]["init_args"], config["data"]["init_args"], config["trainer"]
    assert (model["learning_rate"], model["weight_decay"], model["frozen"]) == (1e-4, 0.01, [])
    assert data["batch_size"] == 1
    assert not any(value for name, value in data.items() if name.endswith("_augmentation"))
    assert (trainer["max_epochs"], trainer["log_every_n_steps"], trainer["check_val_every_n_epoch"]) == (100, 1, 1)
    loggers = [part["class_path"] for part in trainer["logger"]]
    assert loggers == ["CSVLogger", "TensorBoardLogger", "WandbLogger"]
    callbacks = {part["class_path"]: part.get("init_args", {}) for part in trainer["callbacks"]}
    assert {"OverfitReport", "ModelCheckpoint", "LastCheckpoint"} <= callbacks.keys()
    assert 100 % callbacks["PairImages"]["every_n_epochs"] == 0


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


def test_all_options_have_defaults(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The masks are in ``cropped_seg`` or in ``cropped/seg``, and the split is a file of the dataset."""
    monkeypatch.setattr("prepare.single_pair.check_pairs", lambda *_, **__: None)
    root = tmp_path / "training" / "dataset_aerialmd" / "cropped"
    shutil.copytree(scene, root)
    (root / "seg").rename(root.parent / "cropped_seg")
    single_pair(create_config=True)
    out = tmp_path / "training" / "dataset_aerialmd_single"
    assert (out / "seg" / "0001" / "a.jpg.png").read_bytes() == (scene / "seg" / "0001" / "a.jpg.png").read_bytes()
    assert "fit --config training/dataset_aerialmd_single/single_pair.yaml" in capsys.readouterr().out
    before = contents(out)
    (root.parent / "cropped_seg").rename(root / "seg")
    shutil.copyfile(scene / "train.npz", "pairs.npz")
    single_pair(source_npz=Path("pairs.npz"), create_config=True)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("option", "arguments", "fault"),
    [
        ("--source_root", {"source_root": Path("nowhere")}, "nowhere is not a folder"),
        ("--source_seg_root", {"source_seg_root": Path("nowhere")}, "nowhere is not a folder"),
        ("--source_seg_root", {}, "neither .*bare_seg nor .*bare/seg is a folder"),
        ("--source_npz", {"source_npz": Path("other.npz")}, "other.npz is neither a file in .* nor a path"),
    ],
)
def test_a_missing_folder_names_its_option(
    own_scene: Path, tmp_path: Path, option: str, arguments: dict[str, Any], fault: str
) -> None:
    bare = own_scene.rename(tmp_path / "bare")
    if arguments.keys() != {"source_seg_root"} and arguments:
        arguments = {"source_seg_root": bare / "seg"} | arguments
    else:
        shutil.move(bare / "seg", tmp_path / "masks")
    with pytest.raises(InputError, match=rf"^{option}: {fault}"):
        single_pair(**{"source_root": bare, "output_root": tmp_path / "out"} | arguments)
    assert not (tmp_path / "out").exists()
