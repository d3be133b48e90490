"""Pairs of images and paint orders on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from formats.errors import InputError
from formats.images import write_png
from formats.layered_art.pairs import layer_pair, read_layer_pair, write_layer_pair


def test_pair_round_trip(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    orders = np.arange(96, dtype=np.uint16).reshape(8, 12) % 7
    files = layer_pair(tmp_path, "animals", "cat")
    write_layer_pair(files, image, orders)
    assert files.image == tmp_path / "images" / "animals" / "cat.png"
    image_read, orders_read = read_layer_pair(files)
    assert np.array_equal(image_read, image)
    assert np.array_equal(orders_read, orders)


def test_an_invisible_layer_is_not_counted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 layers are visible, but the foremost is number 2"):
        write_layer_pair(layer_pair(tmp_path, "a", "b"), np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 2, np.uint16))


def test_different_sizes_are_refused(tmp_path: Path) -> None:
    files = layer_pair(tmp_path, "a", "b")
    write_layer_pair(files, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16))
    write_png(files.image, np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(InputError, match="has 4×4 pixels, its image 5×4"):
        read_layer_pair(files)
