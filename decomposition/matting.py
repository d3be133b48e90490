"""Alpha matting of layers: own colours inside, hidden parts inpainted, antialiased edges unmixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decomposition.colour_regions import flat_components
from decomposition.compositing import Box, bounding_box
from decomposition.inpainting import clean_pixels, fill_colours

Colours = NDArray[np.float32]

MIN_CONTRAST = 16.0  # levels of 255 between two layers, to recognise a mixture of both
MAX_DEVIATION = 24.0  # levels between a pixel and the nearest mixture of its two layers' colours
MIN_SHARE = 0.03  # of the upper layer in a mixture, to unmix the pixel
SOLID_SHARE = 0.98
FILL_THICKNESS = 0.35  # of the thickest part of a layer; thinner parts are outlines, which colour nothing hidden


def layer_pixels(
    image: NDArray[np.uint8], labels: NDArray[np.int32], extents: list[NDArray[np.bool_]]
) -> list[NDArray[np.uint8]]:
    """Split an image into layers that compose to it and leave no holes or fringes when moved.

    A pixel c on the edge of an upper layer of colour F over B is c = a F + (1 − a) B. F and B are estimated from the
    layers' own pixels nearby; the upper layer then gets a and the F′ that gives exactly c over B.

    Args:
        image: (H, W, 4) RGBA, not premultiplied.
        labels: (H, W), the visible layer, 0 the lowest; −1 for none.
        extents: Visible and hidden pixels (H, W) of each layer, from `decomposition.inpainting.layer_extents`.

    Returns:
        (H, W, 4) RGBA of each layer, not premultiplied. They compose to the image within one level.
    """
    opaque = image[..., 3] == 255
    colours = image[..., :3].astype(np.float32)
    # The highest layer at a pixel or next to it may contribute to its colour, except next to transparent pixels.
    square = np.ones((3, 3), np.bool_)
    highest = np.where(opaque, ndimage.maximum_filter(labels, footprint=square), labels)
    lowest = ndimage.minimum_filter(np.where(labels < 0, len(extents), labels), footprint=square)
    edge = opaque & (lowest < highest)

    fills: list[tuple[Box, NDArray[np.uint8]]] = []
    clean = np.zeros_like(colours)
    for layer, extent in enumerate(extents):
        visible = labels == layer
        box = bounding_box(extent | (edge & (highest == layer)), margin=1)
        filled = _own_colours(image[box], visible[box], (labels[box] >= 0) & ~visible[box])
        fills.append((box, filled))
        np.copyto(clean[box], filled, where=visible[box][..., None])
    claimed = _claimed(colours, clean, fills, edge & (highest > labels), highest)

    below = np.zeros_like(colours)
    results = []
    for layer, (extent, (box, filled)) in enumerate(zip(extents, fills, strict=True)):
        visible = labels[box] == layer
        solid = visible & ~claimed[box]
        pixels = np.zeros_like(image)
        part = pixels[box]
        part[..., :3] = np.where(solid[..., None], image[box][..., :3], filled)
        part[..., 3] = _hidden_alpha(extent[box], opaque[box], labels[box] > layer, layer)
        part[..., 3][visible] = image[box][..., 3][visible]
        if layer:
            mixed = edge[box] & (highest[box] == layer) & (claimed[box] | solid)
            part[mixed] = _unmixed(colours[box][mixed], filled[mixed].astype(np.float32), below[box][mixed])
        part[part[..., 3] == 0] = 0
        share = part[..., 3:].astype(np.float32) / np.float32(255)
        below[box] += share * (part[..., :3] - below[box])
        results.append(pixels)
    return results


def _own_colours(
    image: NDArray[np.uint8], visible: NDArray[np.bool_], elsewhere: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Extend a layer's own colours over its whole box."""
    known = clean_pixels(visible, elsewhere)
    firm = known & (image[..., 3] >= 64)  # colours of nearly transparent pixels are coarsely rounded
    firm = firm if firm.any() else known
    colours = image[..., :3].astype(np.float32)
    filled = fill_colours(colours, firm)
    fills = _fills(image[..., :3], firm)
    if not visible.all() and np.count_nonzero(fills) < np.count_nonzero(firm):
        hidden = ~ndimage.binary_dilation(visible, np.ones((3, 3), np.bool_))
        filled = np.where(hidden[..., None], fill_colours(colours, fills), filled)
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)


def _fills(colours: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose the known pixels that belong to fills rather than to outlines, by the thickness of flat parts.

    Args:
        colours: (H, W, 3).
        known: (H, W), pixels of the layer with its own colour.

    Returns:
        (H, W), some of the known pixels, at least those of the thickest part.
    """
    parts = flat_components(known, colours)
    edge = ~known
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differ = parts[first] != parts[second]
        edge[first] |= differ
        edge[second] |= differ
    depth = ndimage.distance_transform_cdt(np.pad(~edge, 1), "chessboard")[1:-1, 1:-1] + 1
    thickness = np.zeros(int(parts.max(initial=-1)) + 2, depth.dtype)  # numpy is ten times as slow with mixed types
    np.maximum.at(thickness, parts[known] + 1, depth[known])
    return np.asarray(known & (thickness[parts + 1] >= FILL_THICKNESS * thickness.max()))


def _claimed(
    colours: Colours,
    clean: Colours,
    fills: list[tuple[Box, NDArray[np.uint8]]],
    edge: NDArray[np.bool_],
    highest: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Find edge pixels of lower layers to which the higher layer next to them contributes."""
    claimed = np.zeros_like(edge)
    for layer, (box, filled) in enumerate(fills):
        here = edge[box] & (highest[box] == layer)
        share = _upper_share(colours[box][here], filled[here].astype(np.float32), clean[box][here])
        claimed[box][here] = (share >= MIN_SHARE) & (share < 1)
    return claimed


def _upper_share(colours: Colours, upper: Colours, lower: Colours) -> NDArray[np.float32]:
    """Estimate a (N,) of mixtures a · upper + (1 − a) · lower, (N, 3); 1 for colours that are not mixtures."""
    span = upper - lower
    squared = (span**2).sum(1)
    share = np.clip(((colours - lower) * span).sum(1) / np.maximum(squared, 1), 0, 1)
    deviation = np.abs(lower + share[:, None] * span - colours).max(1)
    is_mixture = (np.abs(span).max(1) >= MIN_CONTRAST) & (deviation <= MAX_DEVIATION)
    return np.where(is_mixture & (share < SOLID_SHARE), share, 1).astype(np.float32)


def _unmixed(colours: Colours, upper: Colours, lower: Colours) -> NDArray[np.uint8]:
    """Compute RGBA (N, 4) that gives ``colours`` over ``lower``, with alpha estimated from ``upper``."""
    difference = colours - lower
    largest = np.where(difference > 0, 255 - lower, lower)
    # With less alpha than this, even black or white would not suffice.
    least = (np.abs(difference) / np.maximum(largest, np.float32(1e-6))).max(1)
    alpha = np.clip(np.ceil(255 * np.maximum(least, _upper_share(colours, upper, lower)) - 1e-3), 1, 255)
    solved = np.rint(lower + difference * (255 / alpha)[:, None])
    return np.concatenate([np.clip(solved, 0, 255), alpha[:, None]], axis=1).astype(np.uint8)


def _hidden_alpha(
    extent: NDArray[np.bool_], opaque: NDArray[np.bool_], hidden: NDArray[np.bool_], layer: int
) -> NDArray[np.uint8]:
    """Return alpha (H, W), softened where a layer ends below others; the lowest layer has no end."""
    alpha = np.where(extent, np.uint8(255), np.uint8(0))
    if layer and extent.size:
        coverage = ndimage.uniform_filter((extent | ~opaque).astype(np.float32), 3, mode="nearest")
        soft = np.rint(255 * np.clip(1.5 * coverage - 0.5, 0, 1)).astype(np.uint8)
        alpha = np.where(extent & hidden, soft, alpha)
    return alpha
