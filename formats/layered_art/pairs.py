"""Pairs of an image and its paint orders, as written by ``prepare``.

``<root>/images/<category>/<name>.png`` is RGB, or RGBA without transparency. ``<root>/orders/<category>/<name>.png`` is
16-bit grey of the same size: 0 where nothing was painted, else the order of the topmost layer among the visible ones,
1 … n from below.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from formats.errors import InputError
from formats.images import read_grey, read_rgb, write_png
from formats.local_files import path_within

MAX_LAYERS = 2**16 - 1


class LayerPair(NamedTuple):
    """The two files of a sample."""

    image: Path
    orders: Path


def layer_pair(root: str | Path, category: str, name: str) -> LayerPair:
    """Return the paths of the two files of a sample.

    Raises:
        InputError: One of them is not within the root.
    """
    return LayerPair(*(path_within(root, f"{kind}/{category}/{name}.png", root) for kind in ("images", "orders")))


def write_layer_pair(files: LayerPair, image: NDArray[np.uint8], orders: NDArray[np.uint16]) -> None:
    """Write an image (H, W, 3) and its paint orders (H, W).

    Raises:
        ValueError: The sizes differ, or a layer below the foremost has no pixels.
    """
    if image.shape[:2] != orders.shape:
        raise ValueError(f"the image has {image.shape[:2]} pixels, its orders {orders.shape}")
    visible = np.unique(orders[orders > 0])
    if len(visible) != orders.max(initial=0):
        raise ValueError(f"{len(visible)} layers are visible, but the foremost is number {orders.max()}")
    write_png(files.orders, orders.astype(np.uint16))  # the image last: a sample exists once its image does
    write_png(files.image, image)


def read_layer_pair(files: LayerPair) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Read an image (H, W, 3) and its paint orders (H, W).

    Raises:
        InputError: A file is missing or broken, or their sizes differ.
    """
    image, orders = read_rgb(files.image), read_grey(files.orders)
    if image.shape[:2] != orders.shape:
        fault = f"has {orders.shape[1]}×{orders.shape[0]} pixels, its image {image.shape[1]}×{image.shape[0]}"
        raise InputError(files.orders, fault, "Prepare the dataset again.")
    return image, orders
