"""Crop, turn, mirror, resize and recolour illustrations with their paint orders: pure functions.

Image and orders are moved by the same geometry. Orders are only ever picked, never blended, so that every number in
the result stands in the source.
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

ATTEMPTS = 5  # at a crop in which more than one layer can be seen


def draw_window(orders: NDArray[np.uint16], largest_cut: float, draws: np.random.Generator) -> Window:
    """Draw a window that shows at least two layers, or the whole where none was found.

    Args:
        orders: (H, W).
        largest_cut: Share of both sides that is cut away at most, at least 0 and below 1.
        draws: Of random numbers.
    """
    height, width = orders.shape
    for _ in range(ATTEMPTS):
        kept = 1 - draws.uniform(0, largest_cut)
        rows, columns = max(1, round(height * kept)), max(1, round(width * kept))
        top, left = int(draws.integers(height - rows + 1)), int(draws.integers(width - columns + 1))
        window = Window(top, left, rows, columns)
        shown = crop(orders, window)
        if (shown != shown[0, 0]).any():
            return window
    return Window(0, 0, height, width)


def turn(pixels: NDArray[Any], quarter_turns: int, mirrored: bool) -> NDArray[Any]:
    """Turn (H, W) or (H, W, C) anticlockwise by quarters, then mirror it left to right, as a view."""
    turned = np.rot90(pixels, quarter_turns)
    return turned[:, ::-1] if mirrored else turned


def resize_image(image: NDArray[np.uint8], side: int) -> Tensor:
    """Stretch (H, W, 3) to (3, side, side), antialiased, bicubic, in 8 bits throughout."""
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    if pixels.shape[1:] == (side, side):
        return pixels
    return F.interpolate(pixels[None], (side, side), mode="bicubic", antialias=True)[0]


def resize_orders(orders: NDArray[np.uint16], side: int) -> Tensor:
    """Stretch (H, W) to (side, side) by the nearest pixel."""
    if orders.shape != (side, side):
        orders = resize_nearest(orders, side, side)
    return torch.from_numpy(orders.astype(np.int32))


def recolour(image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float) -> NDArray[np.uint8]:
    """Change brightness, then contrast about the mean grey, then saturation; 1 leaves each as it is.

    Equal to :func:`datamodules.aerial_megadepth.transforms.change_colours` within a few grey levels; uses 8-bit
    look-up tables.

    Args:
        image: (H, W, 3).
        brightness: Factor, 0 or more; so are the others.
        contrast: Factor.
        saturation: Factor.
    """
    picture = Image.fromarray(image)
    levels = np.minimum(np.arange(256) * brightness, 255)
    counts = np.array(picture.histogram()).reshape(3, 256)
    mean = float(np.array([0.299, 0.587, 0.114]) @ (counts @ levels)) / max(1, image.shape[0] * image.shape[1])
    table = np.clip((levels - mean) * contrast + mean + 0.5, 0, 255).astype(np.uint8)
    picture = picture.point(table.tolist() * 3)
    grey = picture.convert("L").convert("RGB")
    return np.asarray(Image.blend(grey, picture, saturation))
