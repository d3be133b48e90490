"""Augmentation of illustrations: image and orders are transformed alike, without new orders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional

from datamodules.layer_transforms import draw_window, recolour, resize_image, resize_orders, turn
from datamodules.transforms import Window, crop


def positions(height: int = 40, width: int = 56) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return an image whose colours are the positions of its pixels, and orders that number the pixels."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([4 * x, 4 * y, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    return image, (1 + y * width + x).astype(np.uint16)


@pytest.mark.parametrize("side", [20, 56, 112])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_image_and_orders_are_transformed_alike(side: int, turns: int, mirrored: bool) -> None:
    image, orders = positions()
    window = Window(5, 10, 30, 41)
    moved = [turn(crop(pixels, window), turns, mirrored) for pixels in (image, orders)]
    resized = resize_image(np.ascontiguousarray(moved[0]), side)
    numbers = resize_orders(moved[1], side)
    assert resized.shape == (3, side, side)
    assert (resized.dtype, numbers.dtype) == (torch.uint8, torch.int32)
    y, x = (numbers - 1) // 56, (numbers - 1) % 56
    assert ((y >= 5) & (y < 35) & (x >= 10) & (x < 51)).all()
    blur = 4 * max(1, 41 / side) * 1.1 + 1  # one source pixel, or one target pixel, whichever is larger
    assert (resized[0].int() - 4 * x).abs().max() <= blur
    assert (resized[1].int() - 4 * y).abs().max() <= blur


def test_rotation_is_anticlockwise_and_before_mirroring() -> None:
    pixels = np.array([[1, 2], [3, 4]])
    assert turn(pixels, 1, False).tolist() == [[2, 4], [1, 3]]
    assert turn(pixels, 1, True).tolist() == [[4, 2], [3, 1]]
    assert turn(pixels, 0, False).tolist() == pixels.tolist()


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_image(image, 30).permute(1, 2, 0).numpy(), image)


def test_shrinking_is_antialiased_and_orders_are_never_blended() -> None:
    board = np.indices((60, 60)).sum(axis=0) % 2
    image = np.repeat(255 * board[..., None], 3, axis=2).astype(np.uint8)
    assert ((resize_image(image, 20)[:, 1:-1, 1:-1].int() - 127).abs() < 60).all()
    assert set(resize_orders((board * 1000).astype(np.uint16), 20).unique().tolist()) <= {0, 1000}


def test_windows_show_two_layers_and_respect_the_largest_cut() -> None:
    orders = np.zeros((50, 80), np.uint16)
    orders[20:30, 30:40] = 1
    rng = np.random.default_rng(0)
    windows = [draw_window(orders, 0.6, rng) for _ in range(200)]
    for window in windows:
        shown = crop(orders, window)
        assert shown.shape == (window.height, window.width)
        assert shown.min() < shown.max()
        assert window.height >= 19
        assert window.width >= 31
    assert len({(window.top, window.left) for window in windows}) > 50
    assert min(window.height for window in windows) < 25
    assert draw_window(np.zeros((50, 80), np.uint16), 0.6, rng) == Window(0, 0, 50, 80)


def torchvision_recolour(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    pixels = functional.adjust_brightness(torch.from_numpy(image).permute(2, 0, 1), brightness)
    pixels = functional.adjust_saturation(functional.adjust_contrast(pixels, contrast), saturation)
    return np.asarray(pixels.permute(1, 2, 0).numpy())


def test_colours_change_as_in_torchvision() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(recolour(image, 1, 1, 1), image)
    for factors in rng.uniform(0.5, 1.5, (20, 3)):
        differences = recolour(image, *factors).astype(int) - torchvision_recolour(image, *factors)
        assert np.abs(differences).max() <= 4
        assert np.abs(differences).mean() < 1.5  # torchvision rounds down
