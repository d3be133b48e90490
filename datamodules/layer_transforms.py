"""Crop, rotate, mirror, resize and recolour illustrations with their paint orders: pure functions.

Image and orders are transformed alike. Orders are resampled by the nearest pixel, so that no new values appear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.transforms import Window, crop, resize_nearest

ATTEMPTS = 5  # to find a crop with more than one visible layer


def draw_window(orders: NDArray[np.uint16], largest_cut: float, rng: np.random.Generator) -> Window:
    """Draw a random window with at least two visible layers, or the whole image if none was found.

    Args:
        orders: (H, W).
        largest_cut: Largest share of the height and width to cut off, at least 0 and below 1.
        rng: Random number generator.
    """
    height, width = orders.shape
    for _ in range(ATTEMPTS):
        kept = 1 - rng.uniform(0, largest_cut)
        rows, columns = max(1, round(height * kept)), max(1, round(width * kept))
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        window = Window(top, left, rows, columns)
        visible = crop(orders, window)
        if (visible != visible[0, 0]).any():
            return window
    return Window(0, 0, height, width)


def turn(pixels: NDArray[Any], quarter_turns: int, mirrored: bool) -> NDArray[Any]:
    """Rotate (H, W) or (H, W, C) anticlockwise by quarter turns, then mirror it left to right; returns a view."""
    turned = np.rot90(pixels, quarter_turns)
    return turned[:, ::-1] if mirrored else turned


def resize_image(image: NDArray[np.uint8], side: int) -> Tensor:
    """Resize (H, W, 3) to (3, side, side) in 8 bits by antialiased bicubic interpolation."""
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    if pixels.shape[1:] == (side, side):
        return pixels
    return F.interpolate(pixels[None], (side, side), mode="bicubic", antialias=True)[0]


def resize_orders(orders: NDArray[np.uint16], side: int) -> Tensor:
    """Resize (H, W) to (side, side) by the nearest pixel."""
    if orders.shape != (side, side):
        orders = resize_nearest(orders, side, side)
    return torch.from_numpy(orders.astype(np.int32))


def recolour(image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float) -> NDArray[np.uint8]:
    """Change brightness, then contrast about the mean grey, then saturation; a factor of 1 changes nothing.

    Equal to torchvision's ``adjust_brightness``, ``adjust_contrast`` and ``adjust_saturation`` within 4 of 255 levels,
    and three times as fast with look-up tables.

    Args:
        image: (H, W, 3).
        brightness: Factor, at least 0.
        contrast: Factor, at least 0.
        saturation: Factor, at least 0.
    """
    pixels = Image.fromarray(image)
    levels = np.minimum(np.arange(256) * brightness, 255)
    counts = np.array(pixels.histogram()).reshape(3, 256)
    mean = float(np.array([0.299, 0.587, 0.114]) @ (counts @ levels)) / max(1, image.shape[0] * image.shape[1])
    table = np.clip((levels - mean) * contrast + mean + 0.5, 0, 255).astype(np.uint8)
    pixels = pixels.point(table.tolist() * 3)
    grey = pixels.convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, pixels, saturation))
