"""One-line rules for the order of regions: baselines that a network has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decomposition.region_graph import lab_colours

RULES = ("unlike_the_border", "smaller_on_top", "nearer_the_centre")


def rule_heights(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> dict[str, NDArray[np.float64]]:
    """Order regions by each of ``RULES``.

    Args:
        image: (H, W, 3) RGB.
        labels: (H, W), region numbers from 0 without gaps.

    Returns:
        Heights (N,) by rule, larger in front: distance in CIELAB from the mean colour of the image's border, the
        negative area, and the negative distance of the region's centroid from the centre of the image.
    """
    flat, count = labels.reshape(-1), int(labels.max()) + 1
    areas = np.bincount(flat, minlength=count).astype(np.float64)
    lab = lab_colours(image)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]]).mean(0)
    steps = np.linalg.norm(lab - border, axis=2).reshape(-1)
    rows, columns = np.divmod(np.arange(flat.size), labels.shape[1])
    y, x = (np.bincount(flat, places, count) / areas for places in (rows, columns))
    offset = np.hypot(y / labels.shape[0] - 0.5, x / labels.shape[1] - 0.5)
    return {
        "unlike_the_border": np.bincount(flat, steps, count) / areas,
        "smaller_on_top": -areas,
        "nearer_the_centre": -offset,
    }
