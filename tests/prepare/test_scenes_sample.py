"""The dataset of general simulated scenes, as its readers see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli import main
from formats.aerial_megadepth import image_files, read_camera, read_labels, read_split
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb
from prepare.scenes_sample import scenes_sample
from simulators.scenes.pairs import TEST, scene_pair

COUNTS = {"num_train": 2, "num_val": 1, "num_test": 1}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "data"
    main(
        [
            "prepare",
            "scenes-sample",
            f"--out={out}",
            *(f"--{k}={v}" for k, v in COUNTS.items()),
            "--width=64",
            "--height=48",
        ]
    )
    return out


def test_files_hold_the_simulated_pair(sample: Path) -> None:
    pair = scene_pair(0, TEST, 0, 64, 48)
    split = read_split(sample / "test.npz")
    assert len(split) == 1
    for index, view in enumerate(("first", "second")):
        assert split.image(int(split.pairs[0, index])) == ("test_00000", f"{view}.jpeg")
        files = image_files(sample, sample / "seg", "test_00000", f"{view}.jpeg")
        assert files.mask is not None
        assert np.abs(read_rgb(files.image).astype(int) - pair.images[index]).mean() < 6
        assert np.allclose(read_depth(files.depth), pair.depths[index])
        assert ((read_labels(files.mask) == 2) == (pair.depths[index] == 0)).all()
        intrinsics, cam2world = read_camera(files.camera)
        assert np.allclose(intrinsics, pair.intrinsics[index])
        assert np.allclose(cam2world, pair.cam2world[index])


def test_splits_share_no_scene(sample: Path) -> None:
    names = [read_split(sample / f"{split}.npz").scenes for split in ("train", "val", "test")]
    assert [len(part) for part in names] == [2, 1, 1]
    assert len({name for part in names for name in part}) == 4


def test_a_second_run_completes_what_is_missing(sample: Path) -> None:
    lost = next(sample.glob("train_00001/*.exr"))
    content, kept = lost.read_bytes(), next(sample.glob("train_00000/*.exr"))
    lost.unlink()
    before = kept.stat().st_mtime_ns
    scenes_sample(sample, width=64, height=48, **COUNTS)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == before


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--num_test"):
        scenes_sample(tmp_path / "data", num_test=0)
    with pytest.raises(InputError, match="--width"):
        scenes_sample(tmp_path / "data", width=8)
    assert not (tmp_path / "data").exists()
