"""The simulated AerialMegaDepth dataset: its files as their readers see them, repeatability, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from formats.aerial_megadepth import image_files, read_camera, read_labels, read_split
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb
from prepare.aerial_city_sample import aerial_city_sample
from simulators.city.cameras import MIN_OVERLAP, draw_cameras, draw_city, render

SMALL = {"width": 64, "height": 48}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aerial") / "data"
    aerial_city_sample(root, num_scenes=3, val_scenes=1, pairs_per_scene=2, **SMALL)
    return root


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_layout(sample: Path) -> None:
    images = [f"{number:04d}_{view}.jpeg" for number in (1, 2) for view in ("aerial", "ground")]
    expected = {"train.npz", "val.npz", "simulation.json"}
    for scene in ("0001", "0002", "0003"):
        for image in images:
            expected |= {f"{scene}/{image}{suffix}" for suffix in (".jpg", ".exr", ".npz")} | {
                f"seg/{scene}/{image}.png"
            }
    assert set(files_of(sample)) == expected
    assert json.loads((sample / "simulation.json").read_text())["scenes"] == {
        "train": ["0001", "0002"],
        "val": ["0003"],
    }


def test_splits_pair_an_aerial_and_a_ground_image_of_one_scene(sample: Path) -> None:
    for name, scenes in (("train", ["0001", "0002"]), ("val", ["0003"])):
        split = read_split(sample / f"{name}.npz")
        assert split.scenes == scenes
        assert len(split) == 2 * len(scenes)
        for (first, second), scene_id, score in zip(split.pairs, split.scene_ids, split.scores, strict=True):
            (scene, aerial), (other, ground) = split.image(first), split.image(second)
            assert scene == other == scenes[scene_id]
            assert aerial.replace("aerial", "ground") == ground
            assert MIN_OVERLAP <= score <= 1


def test_files_hold_what_the_simulator_made(sample: Path) -> None:
    city = draw_city(np.random.default_rng([0, 0, 2]))
    pair = draw_cameras(city, np.random.default_rng([0, 1, 2, 1]))
    for view, camera in (("aerial", pair.aerial), ("ground", pair.ground)):
        files = image_files(sample, sample / "seg", "0002", f"0001_{view}.jpeg")
        rendering = render(city, camera, 64, 48)
        np.testing.assert_array_equal(read_depth(files.depth), rendering.depth)
        assert files.mask is not None
        np.testing.assert_array_equal(read_labels(files.mask), rendering.labels)
        intrinsics, cam2world = read_camera(files.camera)
        np.testing.assert_array_equal(intrinsics, camera.intrinsics(64, 48))
        np.testing.assert_array_equal(cam2world, camera.cam2world)
        image = read_rgb(files.image)
        assert image.shape == (48, 64, 3)
        assert np.abs(image.astype(int) - rendering.image).mean() < 4  # JPEG
    assert read_split(sample / "train.npz").scores[2] == pair.overlap


@pytest.mark.slow
def test_a_scene_and_a_pair_do_not_depend_on_how_many_there_are(sample: Path, tmp_path: Path) -> None:
    aerial_city_sample(tmp_path / "few", num_scenes=2, val_scenes=1, pairs_per_scene=1, **SMALL)
    aerial_city_sample(tmp_path / "other", num_scenes=2, val_scenes=1, pairs_per_scene=1, seed=1, **SMALL)
    few, other, many = files_of(tmp_path / "few"), files_of(tmp_path / "other"), files_of(sample)
    shared = [name for name in few if "/" in name]
    assert len(shared) == 2 * 2 * 4
    for name in shared:
        assert many[name] == few[name] != other[name]


def test_a_second_run_completes_what_is_missing(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(sample)
    settings = {"num_scenes": 3, "val_scenes": 1, "pairs_per_scene": 2, **SMALL}
    (sample / "seg/0002/0002_ground.jpeg.png").unlink()
    (sample / "val.npz").unlink()
    kept = (sample / "0001/0001_aerial.jpeg.exr").stat().st_mtime_ns
    aerial_city_sample(sample, **settings)
    assert "wrote 1 images of 3 cities" in capsys.readouterr().out
    assert files_of(sample) == before
    assert (sample / "0001/0001_aerial.jpeg.exr").stat().st_mtime_ns == kept
    aerial_city_sample(sample, **settings)
    assert "wrote 0 images" in capsys.readouterr().out
    with pytest.raises(InputError, match="other settings"):
        aerial_city_sample(sample, **settings, seed=5)
    assert files_of(sample) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a dataset of this tool"):
        aerial_city_sample(tmp_path)
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        aerial_city_sample(tmp_path)
    with pytest.raises(InputError, match=r"notes\.txt"):
        aerial_city_sample(tmp_path / "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "simulation.json"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_scenes": 1},
        {"val_scenes": 0},
        {"val_scenes": 8},
        {"pairs_per_scene": 0},
        {"width": 8},
        {"height": 9000},
        {"seed": -1},
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        aerial_city_sample(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()
