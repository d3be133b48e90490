"""Regions of near-flat colour that cover an image: the pieces whose layer order can be asked for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

FLAT_STEP = 10  # levels of 255 between adjacent pixels of one region, so that gradients stay whole
EDGE_STEP = 24  # levels by which an antialiased pixel differs from both sides
MIN_AREA = 10  # pixels; smaller pieces join the region around them
MAX_REGIONS = 160  # the largest; the others join those
MIN_LINE_AREA = 6  # the same for pieces of thin lines
LINE_STEP = 90  # levels between adjacent pixels of one thin line, which antialiasing makes uneven
LINE_CONTRAST = 20  # levels by which a thin line differs from all regions around it
_GROWTH = 4  # rounds in which pixels without a region take that of the most similar neighbour


def colour_regions(image: NDArray[np.uint8], max_regions: int = MAX_REGIONS) -> NDArray[np.int32]:
    """Divide an image into connected regions whose colour changes slowly.

    Args:
        image: (H, W, 3) RGB.
        max_regions: Smaller regions than the ``max_regions`` largest join one next to them.

    Returns:
        (H, W) region numbers from 0 without gaps; every pixel belongs to a region.
    """
    colours = image.astype(np.int16)
    flat = ~_antialiased(colours)
    labels = _largest(_components(flat, colours, FLAT_STEP), MIN_AREA, max_regions)
    lines = _components(_outside_nearby_colours(labels, colours), colours, LINE_STEP, diagonal=True)
    labels = np.where(labels < 0, np.where(lines >= 0, lines + labels.max() + 1, -1), labels)
    return _grow(_largest(labels, MIN_LINE_AREA, max_regions), colours)


def equal_neighbours(image: NDArray[np.uint8]) -> float:
    """Return the share of horizontally and vertically adjacent pixels of (H, W, 3) RGB that have the same colour.

    Example:
        >>> equal_neighbours(np.zeros((4, 4, 3), np.uint8))
        1.0
    """
    pairs = [(np.diff(image.astype(np.int16), axis=axis) == 0).all(-1).ravel() for axis in (0, 1)]
    equal = np.concatenate(pairs)
    return float(equal.mean()) if equal.size else 1.0


def flat_components(mask: NDArray[np.bool_], colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the parts of a mask (H, W) whose colour (H, W, 3) changes slowly; −1 outside the mask."""
    return _components(mask, colours.astype(np.int16), FLAT_STEP)


def _largest(labels: NDArray[Any], min_area: int, max_regions: int) -> NDArray[np.int32]:
    """Number the largest regions from 0; −1 for the others."""
    areas = np.bincount(labels[labels >= 0], minlength=1)
    keep = (areas >= min(min_area, areas.max())) & (areas > 0)
    if np.count_nonzero(keep) > max_regions:
        keep &= areas > np.sort(areas)[-max_regions - 1]
    numbers = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
    return np.asarray(numbers[labels], np.int32)


def _outside_nearby_colours(labels: NDArray[np.int32], colours: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find pixels without a region that no mixture of the regions nearby explains: those of thin lines."""
    free = labels < 0
    result = np.zeros(labels.shape, np.bool_)
    for channel in range(3):
        values = colours[..., channel]
        low = ndimage.minimum_filter(np.where(free, np.int16(999), values), 5)
        high = ndimage.maximum_filter(np.where(free, np.int16(-999), values), 5)
        result |= (values < low - LINE_CONTRAST) | (values > high + LINE_CONTRAST)
    return result & free


def _antialiased(colours: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find pixels whose colour is between those of two opposite neighbours and clearly differs from both."""
    height, width = colours.shape[:2]
    padded = np.pad(colours, ((1, 1), (1, 1), (0, 0)), mode="edge")
    result = np.zeros((height, width), np.bool_)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        second = padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        differs = (largest_step(colours, first) > FLAT_STEP) & (largest_step(colours, second) > FLAT_STEP)
        differs &= largest_step(first, second) > EDGE_STEP
        low, high = np.minimum(first, second) - 2, np.maximum(first, second) + 2
        between = (colours >= low) & (colours <= high)
        result |= differs & between[..., 0] & between[..., 1] & between[..., 2]
    return result


def largest_step(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the largest difference of a channel, (H, W), of (H, W, C); ``max(-1)`` takes several times as long."""
    steps = (np.abs(first[..., channel] - second[..., channel]) for channel in range(first.shape[-1]))
    return np.asarray(functools.reduce(np.maximum, steps))


def _components(
    mask: NDArray[np.bool_], colours: NDArray[np.int16], step: int, diagonal: bool = False
) -> NDArray[np.int64]:
    """Number the parts of a mask that are connected through neighbours of like colour; −1 outside."""
    numbers = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
    ends = []
    sides: list[tuple[Any, Any]] = [(np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])]
    if diagonal:
        sides += [(np.s_[:-1, :-1], np.s_[1:, 1:]), (np.s_[:-1, 1:], np.s_[1:, :-1])]
    for first, second in sides:
        joined = mask[first] & mask[second] & (largest_step(colours[first], colours[second]) <= step)
        ends.append((numbers[first][joined], numbers[second][joined]))
    rows, columns = (np.concatenate(pair) for pair in zip(*ends, strict=True))
    graph = sparse.coo_array((np.ones(rows.size, np.bool_), (rows, columns)), shape=(mask.size, mask.size))
    labels = csgraph.connected_components(graph, directed=False)[1].reshape(mask.shape)
    return np.where(mask, labels, -1)


def _grow(labels: NDArray[np.int32], colours: NDArray[np.int16]) -> NDArray[np.int32]:
    """Give pixels without a region that of an adjacent pixel of like colour, the rest that of the nearest one."""
    if (labels < 0).all():
        return np.zeros_like(labels)
    count = int(labels.max()) + 1
    inside = labels >= 0
    owners, values = labels[inside], colours[inside].astype(np.float64)
    sums = [np.bincount(owners, np.ascontiguousarray(values[:, c]), count) for c in range(3)]
    means = np.stack(sums, 1) / np.bincount(owners, minlength=count).reshape(-1, 1)
    width = labels.shape[1] + 2
    flat = np.pad(labels, 1, constant_values=-1).reshape(-1)
    source = np.pad(colours, ((1, 1), (1, 1), (0, 0))).reshape(-1, 3).astype(np.float32)
    is_inner = np.pad(np.ones(labels.shape, np.bool_), 1).reshape(-1)
    for _ in range(_GROWTH):
        waiting = np.flatnonzero((flat < 0) & is_inner)
        if not waiting.size:
            break
        best, chosen = np.full(waiting.size, np.inf), np.full(waiting.size, -1, np.int32)
        for shift in (-1, 1, -width, width, -width - 1, -width + 1, width - 1, width + 1):
            near = flat[waiting + shift]
            cost = np.where(near >= 0, np.abs(source[waiting] - means[near]).sum(1), np.inf)
            better = cost < best
            best[better], chosen[better] = cost[better], near[better]
        flat[waiting] = chosen
    grown = flat.reshape(labels.shape[0] + 2, width)[1:-1, 1:-1]
    if (grown < 0).any():
        places = ndimage.distance_transform_edt(grown < 0, return_distances=False, return_indices=True)
        grown = grown[tuple(places)]
    return np.ascontiguousarray(grown)
