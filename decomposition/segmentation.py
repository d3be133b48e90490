"""Segmentation of a blurred, noisy layer index into one layer per pixel, guided by the edges of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from decomposition.clustering import cluster_boundaries, jenks_boundaries
from decomposition.colour_regions import largest_step

FLAT_STEP = 6  # largest step in levels of 255 within a region: flat colours, gentle gradients, compression noise
MIN_AREA = 12  # pixels of a region
MAX_SPREAD = 0.12  # of the smoothed index within a region, from the 10th to the 90th percentile
EMPTY_MIDDLE = 0.15  # share of a region's pixels in the middle third of that range; 0.33 for Gaussian noise
THIN = 0.0075  # mean depth of thin lines, as a share of the longer side; their index is blurred, so colour decides
RAMP = 0.02  # change of the smoothed index per pixel at a blurred edge
LEVELS = 24  # of the smoothed index, where the image has no regions
MIN_WEIGHT = 0.6  # of a region in clustering: hairlines are mostly edges between others
MAX_DISTINCT = 256  # values of a map that is constant within regions
REGION_BANDWIDTH = 0.012  # of the index, for clusters of such a map
MIN_LAYER_SHARE = 0.001  # of the visible pixels, in a layer that the map determines
REACH = 2  # pixels per step of growing

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class IndexLayers:
    """Layers of an index map.

    Attributes:
        labels: (H, W), number of the layer, 0 the lowest; −1 where nothing is visible.
        indices: Index of every layer, ascending.
    """

    labels: Labels
    indices: list[float]


@dataclass(frozen=True)
class _Regions:
    """Regions of an image.

    Attributes:
        labels: (H, W), number of the region, 0 … N − 1; −1 for none.
        index: (N,), median index.
        area: (N,), in pixels.
        thickness: (N,), distance from edge to core in pixels.
        noise: Typical noise of the index.
    """

    labels: Labels
    index: NDArray[np.float64]
    area: NDArray[np.float64]
    thickness: NDArray[np.float64]
    noise: float


def index_layers(
    image: NDArray[np.uint8], index: NDArray[np.float32], num_layers: int | None, max_layers: int
) -> IndexLayers:
    """Find the layers of an index map, and assign every visible pixel to one of them.

    A map of few distinct values is exact and used unchanged. Otherwise regions of nearly flat colour get the median
    index of their core, away from blurred edges; where the image has no such regions, or they contain several layers,
    regions are level sets of the smoothed map. Regions of similar index form one layer. Pixels between regions, such as
    antialiased ones and those on ramps of the map, go to the most similar adjacent layer.

    Args:
        image: (H, W, 4) RGBA, not premultiplied.
        index: (H, W) in 0…1.
        num_layers: Number of layers; None determines it from the map.
        max_layers: Largest number of layers to determine from the map.
    """
    visible = image[..., 3] > 0
    values = np.round(index[visible], 4).astype(np.float64)
    if not values.size:
        return IndexLayers(np.full(index.shape, -1, np.int32), [])
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size == 1 or (distinct.size <= MAX_DISTINCT and 4 * distinct.size <= values.size):
        limit = num_layers or max_layers
        if num_layers is None and distinct.size > 2 * max_layers:
            boundaries = cluster_boundaries(distinct, np.sqrt(counts), REGION_BANDWIDTH, max_layers)
        elif distinct.size > limit:
            boundaries = jenks_boundaries(distinct, np.sqrt(counts), limit)
        else:
            boundaries = (distinct[1:] + distinct[:-1]) / 2
        if num_layers is None:
            boundaries = _without_small_layers(boundaries, distinct, counts)
        everywhere = np.where(visible, index, np.nan)
        return _numbered(np.where(visible, np.searchsorted(boundaries, everywhere), -1), index)

    colours = (image[..., :3].astype(np.int32) * image[..., 3:] // 255).astype(np.int16)
    regions = _regions(np.concatenate([colours, image[..., 3:].astype(np.int16)], axis=2), index, visible)
    if not regions.index.size:  # no region is large enough to be distinguished from noise
        return _numbered(np.where(visible, 0, -1), index)
    # Small regions weigh more than their area, thin ones less, since blur mixes their index with that of others.
    weights = np.sqrt(regions.area) * np.clip((regions.thickness - 1) / 4, 0.05, 1)
    counted = weights >= min(MIN_WEIGHT, weights.max())
    values, weights = regions.index[counted], weights[counted]
    if num_layers is None:
        bandwidth = float(np.clip(regions.noise, 0.004, 0.03))
        boundaries = cluster_boundaries(values, weights, bandwidth, max_layers)
    else:
        boundaries = jenks_boundaries(values, weights, num_layers)
    cluster = np.searchsorted(boundaries, regions.index).astype(np.int32)
    labels = np.where(regions.labels >= 0, cluster[regions.labels], -1).astype(np.int32)
    means = np.bincount(cluster, regions.area * regions.index) / np.maximum(np.bincount(cluster, regions.area), 1)
    return _numbered(_grown(labels, colours, index, means, visible), index)


def _without_small_layers(
    boundaries: NDArray[np.float64], values: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Remove boundaries until every layer has its least share; a small one joins the neighbour nearer in index."""
    while boundaries.size:
        layer = np.searchsorted(boundaries, values)
        areas = np.bincount(layer, counts, boundaries.size + 1)
        smallest = int(areas.argmin())
        if areas[smallest] >= MIN_LAYER_SHARE * counts.sum():
            break
        means = np.bincount(layer, counts * values, boundaries.size + 1) / np.maximum(areas, 1)
        gaps = np.abs(np.diff(means))
        sides = [side for side in (smallest - 1, smallest) if 0 <= side < boundaries.size]
        boundaries = np.delete(boundaries, min(sides, key=lambda side: float(gaps[side])))
    return boundaries


def _numbered(labels: Labels, index: NDArray[np.float32]) -> IndexLayers:
    """Renumber labels without gaps; the index of a layer is the median of its pixels."""
    used, renumbered = np.unique(labels[labels >= 0], return_inverse=True)
    result = np.full(labels.shape, -1, np.int32)
    result[labels >= 0] = renumbered
    return IndexLayers(result, _quantiles(result, index, used.size, 0.5).tolist())


def _regions(colours: NDArray[np.int16], index: NDArray[np.float32], visible: NDArray[np.bool_]) -> _Regions:
    """Find regions by colour where they are reliable, elsewhere by the smoothed map."""
    smoothed = ndimage.gaussian_filter(index, 2.0)
    by_colour, noise = _reliable(_components(visible & ~_between(colours), colours, FLAT_STEP), index, smoothed)
    # Antialiased edges are assigned to adjacent regions later.
    apart = ndimage.distance_transform_edt(by_colour < 0) > REACH if (by_colour >= 0).any() else visible
    ramp = np.hypot(ndimage.sobel(smoothed, 0), ndimage.sobel(smoothed, 1)) / 8 > RAMP
    levels = np.rint(smoothed * LEVELS).astype(np.int16)[..., None]
    by_index = _components(visible & apart & ~ramp, levels, 0)
    by_index = _kept(by_index, np.bincount(by_index[by_index >= 0]) >= MIN_AREA)

    labels = np.where(by_index >= 0, by_index + by_colour.max(initial=-1) + 1, by_colour)
    area = np.bincount(labels[labels >= 0]).astype(np.float64)
    core, thickness = _cores(labels)
    return _Regions(labels, _quantiles(core, index, area.size, 0.5), area, thickness, noise)


def _reliable(labels: Labels, index: NDArray[np.float32], smoothed: NDArray[np.float32]) -> tuple[Labels, float]:
    """Keep regions that are large enough and not several layers of one colour; also return their noise."""
    labels = _kept(labels, np.bincount(labels[labels >= 0]) >= MIN_AREA)
    core, _ = _cores(labels)
    inside = core >= 0
    region, values = core[inside], smoothed[inside]
    area = np.bincount(region)
    if not area.size:
        return labels, 0.0
    low, high = (_quantiles(core, smoothed, area.size, share) for share in (0.1, 0.9))
    spread = high - low
    # Two layers leave the middle of their range empty; noise fills it.
    middle = np.abs(values - (low + high)[region] / 2) < spread[region] / 6
    mixed = (spread > MAX_SPREAD) & (np.bincount(region[middle], minlength=area.size) < EMPTY_MIDDLE * area)
    mixed |= spread > 2 * MAX_SPREAD
    everywhere = labels >= 0
    depth = np.bincount(labels[everywhere], _depth(labels)[everywhere]) / np.bincount(labels[everywhere])
    mixed &= depth > THIN * max(labels.shape)
    quarters = [_quantiles(core, index, area.size, share) for share in (0.25, 0.75)]
    return _kept(labels, ~mixed), float(np.average(quarters[1] - quarters[0], weights=area)) / 1.35


def _cores(labels: Labels) -> tuple[Labels, NDArray[np.float64]]:
    """Return labels (H, W) of the inner halves of regions, and the regions' thickness from edge to core in pixels."""
    depth = _depth(labels)
    largest = np.zeros(int(labels.max(initial=-1)) + 1, depth.dtype)  # numpy is ten times as slow with mixed types
    np.maximum.at(largest, labels[labels >= 0], depth[labels >= 0])
    thickness = largest.astype(np.float64)
    return np.where((labels >= 0) & (depth >= 0.5 * np.append(thickness, 0)[labels]), labels, -1), thickness


def _between(colours: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find antialiased pixels, whose colour is between those of two opposite neighbours and differs from both.

    Otherwise edges that are nearly horizontal or vertical would connect the regions on both sides by small steps.
    """
    height, width = colours.shape[:2]
    padded = np.pad(colours, ((2, 2), (2, 2), (0, 0)), mode="edge")
    result = np.zeros((height, width), np.bool_)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)):
        first = padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]
        second = padded[2 - down : 2 - down + height, 2 - right : 2 - right + width]
        clearly = FLAT_STEP * max(down, right)
        is_edge = (largest_step(colours, first) > clearly) & (largest_step(colours, second) > clearly)
        for channel in range(colours.shape[2]):  # `all(2)` takes several times as long
            one, other, own = (part[..., channel] for part in (first, second, colours))
            is_edge &= (own >= np.minimum(one, other) - 2) & (own <= np.maximum(one, other) + 2)
        result |= is_edge
    return result


def _components(mask: NDArray[np.bool_], values: NDArray[np.int16], step: int) -> Labels:
    """Label the parts of a mask that are connected through neighbours of similar values (H, W, C); −1 outside."""
    numbers = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
    ends = []
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        joined = mask[first] & mask[second] & (largest_step(values[first], values[second]) <= step)
        ends.append((numbers[first][joined], numbers[second][joined]))
    rows, columns = (np.concatenate(pair) for pair in zip(*ends, strict=True))
    graph = sparse.coo_array((np.ones(rows.size, np.bool_), (rows, columns)), shape=(mask.size, mask.size))
    labels = csgraph.connected_components(graph, directed=False)[1].reshape(mask.shape)
    return _kept(np.where(mask, labels, -1), np.bincount(labels[mask], minlength=1) > 0)


def _kept(labels: Labels, keep: NDArray[np.bool_]) -> Labels:
    """Renumber the kept regions; −1 for the others."""
    renumbered = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)  # the last entry is for label −1
    return np.asarray(renumbered[labels], np.int32)


def _depth(labels: Labels) -> NDArray[np.float32]:
    """Return the depth of each pixel in its region, 1 at its edge; the image border is not an edge."""
    edge = np.zeros(labels.shape, np.bool_)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differ = labels[first] != labels[second]
        edge[first] |= differ
        edge[second] |= differ
    if not edge.any():
        return np.full(labels.shape, max(labels.shape), np.float32)
    return np.asarray(ndimage.distance_transform_edt(~edge) + 1, np.float32)


def _quantiles(labels: Labels, index: NDArray[np.float32], count: int, share: float) -> NDArray[np.float64]:
    """Return a quantile of the index for every label, (count,); every label must have pixels."""
    scale = 2**24 - 1
    keys = np.sort(labels[labels >= 0].astype(np.int64) << 24 | np.rint(index[labels >= 0] * scale).astype(np.int64))
    pixels = np.bincount(keys >> 24, minlength=count)
    positions = np.cumsum(pixels) - pixels + (share * (pixels - 1)).astype(np.int64)
    return np.asarray((keys[positions] & scale) / scale)


def _grown(
    labels: Labels,
    colours: NDArray[np.int16],
    index: NDArray[np.float32],
    means: NDArray[np.float64],
    visible: NDArray[np.bool_],
) -> Labels:
    """Assign every visible pixel without a label to that of a nearby pixel of similar colour and index."""
    frame = ((REACH, REACH), (REACH, REACH))
    labels = np.pad(labels, frame, constant_values=-1)
    waiting = np.pad(visible, frame) & (labels < 0)
    own = np.pad(colours.astype(np.float32) / 255, (*frame, (0, 0))).reshape(-1, colours.shape[2])
    target = np.pad(index, frame).reshape(-1)
    flat = labels.reshape(-1)  # a view
    passed = own.copy()  # colour of the region that a label comes from
    square = np.ones((2 * REACH + 1, 2 * REACH + 1), np.bool_)
    shifts = [(y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1) if y or x]
    for _ in range(max(visible.shape)):
        front = np.flatnonzero(waiting & ndimage.binary_dilation(labels >= 0, square))
        if not front.size:
            break
        best = np.full(front.size, np.inf, np.float32)
        source = front.copy()
        for down, right in shifts:
            near = front + down * labels.shape[1] + right
            cost = np.sqrt(((own[front] - passed[near]) ** 2).sum(1)) + 0.02 * np.hypot(down, right)
            cost += 0.5 * np.abs(target[front] - means[flat[near]])
            better = (flat[near] >= 0) & (cost < best)
            best[better], source[better] = cost[better], near[better]
        found, passed[front] = flat[source], passed[source]
        flat[front] = found
        waiting.reshape(-1)[front] = False
    inner = labels[REACH:-REACH, REACH:-REACH]
    if (visible & (inner < 0)).any():  # islands without a region
        nearest = ndimage.distance_transform_edt(inner < 0, return_distances=False, return_indices=True)
        inner = np.where(visible, inner[tuple(nearest)], -1)
    return np.asarray(inner, np.int32)
