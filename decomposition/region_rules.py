"""One-line rules for the order of regions: baselines that a network has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decomposition.region_graph import REGION_FEATURES, RegionGraph

RULES = ("unlike_the_border", "smaller_on_top", "nearer_the_centre")


def rule_heights(graph: RegionGraph) -> dict[str, NDArray[np.float64]]:
    """Order the regions of an image by each of ``RULES``.

    Returns:
        Heights (N,) by rule, larger in front: distance in CIELAB of the region's mean colour from that of the image's
        border, the negative area, and the negative distance of the region's centroid from the centre of the image.
    """
    columns = dict(zip(REGION_FEATURES, graph.regions.T.astype(np.float64), strict=True))
    return {
        "unlike_the_border": columns["border_colour_step"],
        "smaller_on_top": -graph.areas.astype(np.float64),
        "nearer_the_centre": -columns["offset_from_centre"],
    }
