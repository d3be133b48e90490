"""Check of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from formats.errors import InputError
from formats.exr import write_depth
from prepare.check_pairs import check_pairs


def write_config(path: Path, scene: Path, **init_args: object) -> str:
    settings = {"data_dir": str(scene), "segmentation_dir": str(scene / "seg"), "image_size": 56, **init_args}
    path.write_text(yaml.safe_dump({"data": {"class_path": "AerialMegaDepthDataModule", "init_args": settings}}))
    return str(path)


def test_what_training_loads_is_printed(scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_pairs(scene, scene / "seg", Path("val.npz"), image_size=56)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"training dataset: {scene / 'val.npz'}, 2 pairs"
    assert lines[1] == "training loader: 2 batches of 1 pair per epoch"
    assert lines[2].startswith("batch: images [1, 2, 3, 42, 56], depths [1, 2, 42, 56], point_masks [1, 2, 42, 56]")
    assert lines[3] == "  aerial_megadepth_0001_0"
    data = AerialMegaDepthDataModule(str(scene), str(scene / "seg"), image_size=56, num_workers=0)
    data.setup("validate")
    depth = data.datasets["val"].__getitems__([0])["depths"][0, 0]
    count, valid = int((depth > 0).sum()), depth[depth > 0]
    share = f"valid pixels {count}/2352 ({100 * count / 2352:.1f} %)"
    assert lines[4] == f"    {scene / '0001' / 'a.jpg.jpg'}: {share}, depth {valid.min():.2f} to {valid.max():.2f} m"
    assert lines[-1].endswith("val.npz: 2 of 2 pairs checked, all can be used")


def test_a_configuration_is_checked_as_training_reads_it(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "a.yaml", scene, batch_size=2, flip_augmentation=True)
    check_pairs(configs=[config])
    out = capsys.readouterr().out
    assert f"configuration: {config}" in out
    assert f"training dataset: {scene / 'train.npz'}, 3 pairs" in out
    assert "training loader: 1 batch of 2 pairs per epoch" in out
    assert out.count("batch: images [2, 2, 3, 42, 56]") == 2  # of training, and of validation
    assert out.count("batch: images [1, 2, 3, 42, 56]") == 1  # the third pair
    assert f"validation dataset: {scene / 'val.npz'}, 2 pairs" in out
    assert "validation loader: 1 batch of 2 pairs" in out
    check_pairs(configs=[config], npz=Path("val.npz"), image_size=28)
    out = capsys.readouterr().out
    assert f"training dataset: {scene / 'val.npz'}, 2 pairs" in out
    assert ", 28], depths" in out
    assert f"validation dataset: {scene / 'val.npz'}, the pairs of training" in out


def test_an_overlay_named_first_is_used(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    write_config(path, scene, image_size=518)
    path.write_text(path.read_text() + "model: {class_path: PairDepthCameraModule}\n")
    check_pairs(configs=["overlays/tiny_pair.yaml", str(path)], limit=1)
    assert "images [1, 2, 3, 84, 112]" in capsys.readouterr().out


def test_wrong_sources_are_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--root: is not set.*--config"):
        check_pairs()
    with pytest.raises(InputError, match=r"train\.npz: no such file"):
        check_pairs(tmp_path)
    with pytest.raises(InputError, match=r"a\.yaml: has wrong data\.init_args: .*no_such"):
        check_pairs(configs=[write_config(tmp_path / "a.yaml", scene, no_such=1)])
    with pytest.raises(InputError, match=r"batch_size: is 4, but there are 3"):
        check_pairs(configs=[write_config(tmp_path / "a.yaml", scene, batch_size=4)])


def test_every_pair_that_cannot_be_used_is_named(own_scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
