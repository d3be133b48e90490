"""Colour-mapped images: colours to levels 0…1 and back.

A spectrogram's colours are a curve through RGB: one number per pixel, the level, says all. An image is compared
with matplotlib's usual colour maps; one that fits none of them is not colour-mapped.
"""

from __future__ import annotations

from functools import lru_cache

import matplotlib
import numpy as np
import torch
from torch import Tensor

COLOUR_MAPS = ("jet", "turbo", "viridis", "plasma", "inferno", "magma", "cividis", "hot", "gray")
TOLERANCE = 3.0  # mean distance in 8-bit RGB up to which images are of a colour map
NUM_LEVELS = 256
_IMAGES, _PIXELS = 16, 20_000  # looked at to recognise a colour map


@lru_cache
def palette(name: str) -> Tensor:
    """Colours (256, 3) uint8 of a matplotlib colour map, lowest level first."""
    table = matplotlib.colormaps[name](np.linspace(0, 1, NUM_LEVELS))[:, :3]
    return torch.from_numpy(np.round(255 * table).astype(np.uint8))


def find_palette(images: Tensor) -> Tensor | None:
    """Recognise the colour map of images.

    Args:
        images: (N, 3, H, W) uint8, N ≥ 1.

    Returns:
        Its colours (256, 3) uint8, or None where the images fit none of ``COLOUR_MAPS``.
    """
    some = images[:: -(-len(images) // _IMAGES)].movedim(1, -1).reshape(-1, 3)
    pixels = some[:: -(-len(some) // _PIXELS)]
    distances = {}
    for name in COLOUR_MAPS:
        distance, _, repeats = _nearest(pixels, palette(name))
        distances[name] = float(distance[repeats].mean())
    best = min(distances, key=lambda name: distances[name])
    return palette(best) if distances[best] <= TOLERANCE else None


def colours_to_levels(images: Tensor, colours: Tensor) -> Tensor:
    """Give the level of each pixel, (N, 1, H, W) float32 in 0…1: its nearest colour's place.

    Args:
        images: (N, 3, H, W) uint8.
        colours: (256, 3) uint8, see `palette`.
    """
    levels = []
    for image in images:
        _, index, repeats = _nearest(image.flatten(1).T, colours)
        levels.append(index[repeats].view(1, *image.shape[1:]))
    return torch.stack(levels).float() / (NUM_LEVELS - 1)


def levels_to_colours(levels: Tensor, colours: Tensor) -> Tensor:
    """Inverse of `colours_to_levels`: (N, 3, H, W) uint8 for levels (N, 1, H, W), clamped to 0…1."""
    index = (levels[:, 0].clamp(0, 1) * (NUM_LEVELS - 1)).round().long()
    return colours.to(levels.device)[index].movedim(-1, 1)


def _nearest(pixels: Tensor, colours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances and indices of the nearest colours of the distinct pixels, and the distinct pixel of each (N,)."""
    places = pixels.long() @ torch.tensor([65536, 256, 1], device=pixels.device)
    distinct, repeats = places.unique(return_inverse=True)
    unpacked = torch.stack([distinct >> 16, (distinct >> 8) & 255, distinct & 255], dim=1).float()
    nearest = torch.cdist(unpacked, colours.to(unpacked)).min(1)
    return nearest.values, nearest.indices, repeats
