"""Inpainting of the hidden parts of layers: their extent and their colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decomposition.compositing import bounding_box

MIN_CONTACT = 0.15  # share of a part's outline that a layer must touch to continue below it

MIN_GRID = 4  # pixels; solved without a coarser grid
DAMPING = np.float32(0.8)  # of a step towards the neighbours' mean; without it checkerboard patterns would persist
MIN_THIN = 12  # pixels of a thin part that is used


def layer_extents(labels: NDArray[np.int32], opaque: NDArray[np.bool_], count: int) -> list[NDArray[np.bool_]]:
    """Find the extent of every layer by removing the layers above it one by one, from the top.

    Pixels of a removed layer go to the lower layers that it touches: a part enclosed by one layer to that layer, others
    to the nearest. A layer that touches only a small share of a part's outline gets nothing, and a part that touches
    no lower layer goes to the lowest. So every opaque pixel belongs to its visible layer, possibly to some layers below
    it, and to the lowest.

    Args:
        labels: (H, W), the visible layer, 0 the lowest; −1 for none.
        opaque: (H, W) bool; nothing is placed below other pixels, since it would show through.
        count: Number of layers.

    Returns:
        Visible and hidden pixels (H, W) bool of each layer.
    """
    current = labels.copy()
    extents = [labels == 0] * count
    for layer in range(count - 1, 0, -1):
        extents[layer] = current == layer
        box = bounding_box(extents[layer], margin=1)
        part = current[box]
        part[(part == layer) & ~opaque[box]] = -1
        _peel(part, layer)
    if count:
        extents[0] = extents[0] | (current == 0)
    return extents


def _peel(labels: NDArray[np.int32], layer: int) -> None:
    """Give the pixels of the highest layer to the layers below, in place."""
    mask = labels == layer
    parts, number = ndimage.label(mask)
    if not number:
        return
    contacts = _contacts(labels, parts, layer, number)
    shares = contacts / np.maximum(contacts.sum(1, keepdims=True), 1)
    continues = (contacts > 0) & (shares >= np.minimum(MIN_CONTACT, shares.max(1, keepdims=True)))
    pixels = np.nonzero(mask)
    lower = (labels >= 0) & (labels < layer)
    part = parts[pixels]
    if not lower.any():
        labels[pixels] = 0
        return
    nearest = labels[_nearest(lower, pixels)]
    # The nearest of the layers that continue below a part; other pixels wait for the next step.
    labels[pixels] = np.where(continues[part, nearest], nearest, layer)
    isolated = ~continues.any(1)
    labels[mask & isolated[parts]] = 0
    pending = labels == layer
    if pending.any():
        pixels = np.nonzero(pending)
        labels[pixels] = labels[_nearest(mask & ~pending, pixels)] if (mask & ~pending).any() else 0


def _contacts(labels: NDArray[np.int32], parts: NDArray[np.int32], layer: int, number: int) -> NDArray[np.int64]:
    """Count the pixel sides at which each part touches each lower layer, (parts + 1, layers)."""
    counts = np.zeros((number + 1) * layer, np.int64)
    for first, second in (
        (np.s_[:-1], np.s_[1:]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
    ):
        inside, outside = parts[first], labels[second]
        touching = (inside > 0) & (outside >= 0) & (outside < layer)
        counts += np.bincount(inside[touching] * layer + outside[touching], minlength=counts.size)
    return counts.reshape(number + 1, layer)


def _nearest(
    sources: NDArray[np.bool_], pixels: tuple[NDArray[np.intp], ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the position of the nearest source of every pixel."""
    rows, columns = ndimage.distance_transform_edt(~sources, return_distances=False, return_indices=True)
    return rows[pixels], columns[pixels]


def clean_pixels(visible: NDArray[np.bool_], elsewhere: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose the pixels of a layer that have its pure colour.

    Pixels next to another layer are antialiased, a mixture of both. They and their neighbours are left out where a part
    is wide enough.

    Args:
        visible: (H, W) bool, pixels of the layer.
        elsewhere: (H, W) bool, pixels of other layers.

    Returns:
        (H, W) bool; not empty unless ``visible`` is.
    """
    parts, number = ndimage.label(visible)
    waiting = np.arange(number + 1) > 0
    clean = np.zeros_like(visible)
    for margin in (2, 1):
        square = np.ones((2 * margin + 1, 2 * margin + 1), np.bool_)
        inner = visible & ~ndimage.binary_dilation(elsewhere, square)
        clean |= inner & waiting[parts]
        waiting[parts[inner]] = False
    thin = waiting & (np.bincount(parts.reshape(-1), minlength=number + 1) >= MIN_THIN)
    clean |= thin[parts]
    return clean if clean.any() else visible


def fill_colours(colours: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill unknown pixels smoothly from the known ones by solving Laplace's equation.

    Solved by full multigrid (Brandt, 1977): each level starts from the coarser one and corrects it in one cycle. Flat
    colours stay flat, and linear gradients continue through enclosed holes.

    Args:
        colours: (H, W, C); any finite value where unknown.
        known: (H, W).

    Returns:
        (H, W, C), equal to ``colours`` where known; zeros if nothing is known.
    """
    return _fill(np.where(known[..., None], colours, 0).astype(np.float32), known.astype(np.float32))


def _fill(colours: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = weights.shape
    unknown = weights == 0
    if not unknown.any() or unknown.all():
        return colours
    padding = ((0, height % 2), (0, width % 2))
    weights = np.pad(weights, padding)
    weighted = np.pad(colours, (*padding, (0, 0))) * weights[..., None]
    sums = _quarter(weights)
    coarse = np.zeros_like(weighted[::2, ::2])
    np.divide(_quarter(weighted), sums[..., None], out=coarse, where=sums[..., None] > 0)
    filled = _double(_fill(coarse, sums * np.float32(0.25)))[:height, :width]
    filled[~unknown] = colours[~unknown]
    box = bounding_box(unknown, margin=1)
    _cycle(filled[box], unknown[box], np.zeros_like(filled[box]))
    return filled


def _quarter(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = values[::2] + values[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2])


def _double(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Upsample (H, W, C) by two, linearly between pixel centres."""
    for axis in (0, 1):
        ends = [(1, 1) if axis == side else (0, 0) for side in range(values.ndim)]
        padded = np.moveaxis(np.pad(values, ends, mode="edge"), axis, 0)
        middle = np.float32(0.75) * padded[1:-1]
        pairs = np.stack([middle + np.float32(0.25) * padded[:-2], middle + np.float32(0.25) * padded[2:]], axis=1)
        values = np.moveaxis(pairs.reshape(-1, *pairs.shape[2:]), 0, axis)
    return np.ascontiguousarray(values)


def _cycle(values: NDArray[np.float32], unknown: NDArray[np.bool_], source: NDArray[np.float32]) -> None:
    """Improve values = mean of their neighbours + source where unknown, by one multigrid cycle in place."""
    small = max(unknown.shape) <= MIN_GRID
    for _ in range(20 if small else 2):
        values += DAMPING * _residual(values, unknown, source)
    if small:
        return
    padding = ((0, unknown.shape[0] % 2), (0, unknown.shape[1] % 2))
    residual = _quarter(np.pad(_residual(values, unknown, source), (*padding, (0, 0))))
    hole = np.pad(unknown, padding, mode="edge")
    hole = hole[::2, ::2] & hole[1::2, ::2] & hole[::2, 1::2] & hole[1::2, 1::2]
    if hole.any():
        correction = np.zeros_like(residual)
        # The sum over four pixels is four times their mean: the source of a grid twice as wide.
        _cycle(correction, hole, residual)
        height, width = unknown.shape
        np.add(values, _double(correction)[:height, :width], out=values, where=unknown[..., None])
    for _ in range(2):
        values += DAMPING * _residual(values, unknown, source)


def _residual(
    values: NDArray[np.float32], unknown: NDArray[np.bool_], source: NDArray[np.float32]
) -> NDArray[np.float32]:
    height, width, channels = values.shape
    padded = np.empty(
        (height + 2, width + 2, channels), np.float32
    )  # by hand, since `np.pad` takes longer on coarse grids
    padded[1:-1, 1:-1] = values
    padded[0, 1:-1], padded[-1, 1:-1] = values[0], values[-1]
    padded[1:-1, 0], padded[1:-1, -1] = values[:, 0], values[:, -1]
    mean = padded[:-2, 1:-1] + padded[2:, 1:-1]
    mean += padded[1:-1, :-2]
    mean += padded[1:-1, 2:]
    mean *= np.float32(0.25)
    mean += source
    mean -= values
    mean *= unknown[..., None]
    return np.asarray(mean)
