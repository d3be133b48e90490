"""One-dimensional clustering of layer indices: number of layers and their boundaries."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BINS = 500
MAX_SPAN = 0.25  # of the range of the index; wider clusters are split
VALLEY = 0.7  # of the lower adjacent peak: shallower valleys are ignored

Numbers = NDArray[np.float64]


def cluster_boundaries(values: Numbers, weights: Numbers, bandwidth: float, largest: int) -> Numbers:
    """Split values at the valleys of their Gaussian kernel density.

    Clusters that span more than a quarter of the range, such as a ramp without valleys, are split further.

    Args:
        values: (N,) in 0…1, at least one.
        weights: (N,), positive.
        bandwidth: Standard deviation of the kernel; peaks closer than about twice that merge.
        largest: Largest number of clusters.

    Returns:
        The inner boundaries, ascending: one fewer than clusters.
    """
    margin = 50  # empty bins on both sides, so that every peak has two slopes
    histogram = np.bincount(_bin(values) + margin, weights, BINS + 2 * margin)
    density = ndimage.gaussian_filter1d(histogram, bandwidth * BINS, mode="constant")
    cuts = [(valley - margin + 0.5) / BINS for valley in _valleys(density)]
    boundaries = np.array(cuts)
    for cluster, edge in enumerate(np.split(np.sort(values), np.searchsorted(np.sort(values), boundaries))):
        inside = np.searchsorted(boundaries, values) == cluster
        span = float(np.ptp(_quantiles(values[inside], weights[inside], (0.05, 0.95)))) if edge.size else 0.0
        if span > MAX_SPAN:
            cuts += jenks_boundaries(values[inside], weights[inside], 1 + int(span / MAX_SPAN)).tolist()
    if len(cuts) >= largest:
        return jenks_boundaries(values, weights, largest)
    return np.sort(cuts)


def jenks_boundaries(values: Numbers, weights: Numbers, count: int) -> Numbers:
    """Split values into clusters of minimal weighted variance (Fisher, 1958; Jenks) by dynamic programming.

    Args:
        values: (N,) in 0…1; grouped into 500 bins.
        weights: (N,), positive.
        count: Number of clusters; fewer if fewer bins are occupied.

    Returns:
        The inner boundaries, ascending, midway between adjacent values.
    """
    bins = _bin(values)
    total = np.bincount(bins, weights, BINS)
    occupied = np.flatnonzero(total)
    weight = total[occupied]
    mean = np.bincount(bins, weights * values, BINS)[occupied] / weight
    low = np.full(BINS, np.inf)
    np.minimum.at(low, bins, values)
    high = np.full(BINS, -np.inf)
    np.maximum.at(high, bins, values)
    low, high = low[occupied], high[occupied]

    sums = [np.concatenate([[0], np.cumsum(weight * mean**power)]) for power in range(3)]
    # variance[i, j]: of bins i … j − 1 as one cluster
    mass, first, second = (row[None, :] - row[:, None] for row in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(mass > 0, second - first**2 / mass, np.inf)
    cost = variance[0]
    starts = []
    for _ in range(min(count, occupied.size) - 1):
        totals = cost[:, None] + variance
        starts.append(totals.argmin(0))
        cost = totals.min(0)
    end, cuts = occupied.size, []
    for start in reversed(starts):
        end = int(start[end])
        cuts.append((high[end - 1] + low[end]) / 2)
    return np.array(cuts[::-1], np.float64)


def _bin(values: Numbers) -> NDArray[np.intp]:
    return np.asarray(np.clip((values * BINS).astype(np.intp), 0, BINS - 1))


def _valleys(density: Numbers) -> list[int]:
    """Return the minima between peaks that are clearly lower than both."""
    inner = density[1:-1]
    peaks = list(np.flatnonzero((inner > density[:-2]) & (inner >= density[2:])) + 1)
    valleys = [int(a + density[a : b + 1].argmin()) for a, b in pairwise(peaks)]
    while valleys:
        ratios = [density[v] / min(density[peaks[k]], density[peaks[k + 1]]) for k, v in enumerate(valleys)]
        worst = int(np.argmax(ratios))
        if ratios[worst] <= VALLEY:
            break
        # Merge the two peaks into the higher one.
        del peaks[worst if density[peaks[worst]] < density[peaks[worst + 1]] else worst + 1]
        del valleys[worst]
    return valleys


def _quantiles(values: Numbers, weights: Numbers, shares: tuple[float, ...]) -> Numbers:
    order = np.argsort(values)
    rising = np.cumsum(weights[order])
    return np.asarray(values[order][np.searchsorted(rising, np.array(shares) * rising[-1])])
