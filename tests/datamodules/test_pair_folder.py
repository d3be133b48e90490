"""Images for prediction, a folder or a pair of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from datamodules.pair_folder import PairFolderDataModule
from formats.errors import InputError
from formats.images import write_png
from tests.support.aerial_scene import SIDE, error_of, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("aerial"))


def test_a_folder_of_plain_images(scene: Path) -> None:
    data = PairFolderDataModule(str(scene / "0001"), image_size=SIDE)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["images"].shape == (1, 3, 3, 42, 56)
    assert batch["names"] == [["a.jpg.jpg", "b.jpg.jpg", "c.jpg.jpg"]]
    assert batch["original_sizes"].tolist() == [[[72, 96]] * 3]
    assert batch["windows"].tolist() == [[[0, 0, 72, 96]] * 3]
    assert 0.3 < batch["images"].max() <= 1


def test_pairs_of_plain_images_of_different_shapes(tmp_path: Path) -> None:
    for number, size in enumerate([(100, 200), (200, 100), (50, 50)]):
        write_png(tmp_path / f"{number}.png", np.full((*size, 3), 51, np.uint8))
    data = PairFolderDataModule([str(tmp_path / f"{number}.png") for number in (2, 0, 1)], image_size=SIDE, views=2)
    data.setup("predict")
    first, second = data.predict_dataloader()
    assert first["names"] == [["2.png", "0.png"]]
    assert first["images"].shape == (1, 2, 3, 42, 56)  # between 1:1 and 1:2
    assert second["images"].shape == (1, 1, 3, 56, 28)
    assert_close(first["images"], torch.full_like(first["images"], 0.2))
    top, left, height, width = first["windows"][0, 1].tolist()
    assert (top, height) == (0, 100)
    assert (left, left + width) == (34, 167)


def test_missing_images_are_named(tmp_path: Path) -> None:
    for images, message in (
        ([], "names no images"),
        ([str(tmp_path / "a.png")], r"a\.png"),
        (str(tmp_path), "no images"),
    ):
        with pytest.raises(InputError, match=message):
            PairFolderDataModule(images).setup("predict")
    (tmp_path / "a.png").write_bytes(b"not an image")
    data = PairFolderDataModule(str(tmp_path), num_workers=1)
    data.setup("predict")
    assert "a.png: cannot be read" in error_of(data.predict_dataloader())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 500}, "--data.image_size: must be a positive multiple of 14"),
        ({"views": 0}, "--data.views: must be null or at least 1"),
        ({"aspect": 0.0}, "--data.aspect: must be null or above 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairFolderDataModule("images", **settings)
