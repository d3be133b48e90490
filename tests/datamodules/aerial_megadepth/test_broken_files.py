"""A broken file ends training with one line that names it, or is skipped with weight 0 and logged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from formats.aerial_megadepth import ImageFiles, image_files, write_camera
from formats.errors import InputError
from formats.exr import write_depth
from formats.images import write_png
from tests.support.aerial_scene import error_of, ready, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("aerial"))


@pytest.fixture
def own_scene(scene: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scene, tmp_path / "aerial")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def mask_of(files: ImageFiles) -> Path:
    assert files.mask is not None
    return files.mask


BROKEN: dict[str, tuple[Callable[[ImageFiles], object], str]] = {
    "corrupt EXR": (lambda f: truncate(f.depth), "a.jpg.exr"),
    "truncated JPEG": (lambda f: truncate(f.image), "a.jpg.jpg"),
    "wrong camera": (lambda f: np.savez(f.camera, intrinsics=np.eye(3), cam2world=np.eye(3)), "a.jpg.npz"),
    "principal point": (lambda f: write_camera(f.camera, np.eye(3), np.eye(4)), "a.jpg.npz"),
    "broken mask": (lambda f: truncate(mask_of(f)), "a.jpg.png"),
    "colour mask": (lambda f: write_png(mask_of(f), np.zeros((72, 96, 3), np.uint8)), "a.jpg.png"),
    "no valid depth": (lambda f: write_depth(f.depth, np.zeros((72, 96), np.float32)), "a.jpg.exr"),
    "all sky": (lambda f: write_png(mask_of(f), np.full((72, 96), 2, np.uint8)), "a.jpg.exr"),
    "depth outside the crop": (lambda f: write_depth(f.depth, corner()), "a.jpg.exr"),
    "missing image": (lambda f: f.image.unlink(), "a.jpg.jpg"),
    "missing depth": (lambda f: f.depth.unlink(), "a.jpg.exr"),
    "missing camera": (lambda f: f.camera.unlink(), "a.jpg.npz"),
    "missing mask": (lambda f: mask_of(f).unlink(), "a.jpg.png"),
}


def corner() -> NDArray[np.float32]:
    depth = np.zeros((72, 96), np.float32)
    depth[-1, -1] = 10
    return depth


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named_or_skipped(own_scene: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    break_it, name = BROKEN[kind]
    break_it(image_files(own_scene, own_scene / "seg", "0001", "a.jpg"))
    with pytest.raises(InputError, match=name.replace(".", r"\.") + ": ") as caught:
        list(ready(own_scene).train_dataloader())
    assert str(caught.value).count("\n") == 0
    caplog.clear()
    loader = ready(own_scene, batch_size=1, on_error="skip").train_dataloader()
    weights = {batch["seq_name"][0]: batch["weights"].tolist() for batch in loader}
    assert weights.pop("aerial_megadepth_0001_1") == weights.pop("aerial_megadepth_0002_2") == [1]
    assert weights == ({} if "missing" in kind else {"aerial_megadepth_0001_0": [0]})
    (record,) = caplog.records
    assert "epoch 0: 1 samples skipped:\n  aerial_megadepth_0001_0: " in record.getMessage()
    assert name in record.getMessage()
    caplog.clear()
    list(ready(own_scene, "predict", on_error="skip").predict_dataloader())
    assert [name in record.getMessage() for record in caplog.records] == [True]


def test_a_skipped_row_does_not_change_the_others(own_scene: Path) -> None:
    whole = ready(own_scene).datasets["train"].__getitems__([1])
    truncate(own_scene / "0001" / "a.jpg.exr")
    batch = ready(own_scene, on_error="skip").datasets["train"].__getitems__([0, 1])
    assert batch["weights"].tolist() == [0, 1]
    assert not batch["point_masks"][0].any()
    for key in ("images", "depths", "world_points", "intrinsics"):
        assert_close(cast("dict[str, Tensor]", batch)[key][1:], cast("dict[str, Tensor]", whole)[key], rtol=0, atol=0)


def test_an_error_in_a_worker_is_still_one_line(own_scene: Path) -> None:
    data = ready(own_scene, num_workers=1)  # which reads a few samples
    truncate(own_scene / "0001" / "a.jpg.exr")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert "a.jpg.exr: is truncated" in error_of(loader)


@pytest.mark.slow
def test_skipped_samples_of_workers_are_listed_once_an_epoch(own_scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    truncate(own_scene / "0001" / "b.jpg.exr")
    loader = ready(own_scene, num_workers=2, on_error="skip").train_dataloader()
    for epoch in (0, 1):
        loader.epoch_sampler.set_epoch(epoch)
        iterator = iter(loader)
        for _ in range(len(loader)):  # like Lightning, which does not ask for more than the last batch
            next(iterator)
        assert [f"epoch {epoch}: 2 samples skipped" in record.getMessage() for record in caplog.records] == [True]
        caplog.clear()
