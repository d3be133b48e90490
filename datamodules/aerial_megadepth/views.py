"""Reading an AerialMegaDepth image with cleaned depth and camera, and choosing the images of a sample."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.aerial_megadepth.transforms import View, resize_intrinsics
from datamodules.transforms import PATCH_SIZE, centred_extent, resize_nearest
from formats.ade20k import SKY
from formats.aerial_megadepth import ImageFiles, Split, read_camera, read_labels
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb
from geometry.cameras import invert_extrinsics

MAX_DEPTH = 2000.0  # metres; farther depth is dropped, see clean_depth
DEPTH_PERCENTILE = 98.0  # of the remaining depth of an image; farther depth is dropped


def read_view(files: ImageFiles, max_depth: float, depth_percentile: float) -> View:
    """Read an image, its cleaned depth and its camera at the size of the image.

    Depth of another size is resized to the image's by the nearest pixel. Intrinsics are assumed to belong to
    whichever of the two sizes has its centre closer to the principal point, and are scaled to the image's size.

    Args:
        files: Files of the image; without a mask, the sky is kept.
        max_depth: Maximum depth in metres, see :func:`clean_depth`.
        depth_percentile: See :func:`clean_depth`.

    Raises:
        InputError: A file is missing or broken; image, depth and mask differ in aspect; the principal point is not
            inside the image; or no valid depth is left.
    """
    image, depth = read_rgb(files.image), read_depth(files.depth)
    size = (image.shape[0], image.shape[1])
    _check_aspect(files.depth, depth.shape, files.image, size)
    sky = None
    if files.mask is not None:
        labels = read_labels(files.mask)
        _check_aspect(files.mask, labels.shape, files.image, size)
        sky = resize_nearest(labels, *depth.shape) == SKY
    depth = clean_depth(depth, sky, max_depth, depth_percentile)
    if not depth.any():
        fault = f"has no valid depth within {max_depth:g} m" + ("" if sky is None else " outside the sky")
        raise InputError(files.depth, fault, "Remove the image from the split, or raise --data.max_depth.")

    intrinsics, cam2world = read_camera(files.camera)
    if _centre_distance(intrinsics, depth.shape) < _centre_distance(intrinsics, size):
        intrinsics = resize_intrinsics(intrinsics, depth.shape, size)
    if min(centred_extent(size, (intrinsics[0, 2], intrinsics[1, 2]))) < PATCH_SIZE:
        u, v = intrinsics[:2, 2]
        fault = (
            f"has its principal point at ({u:.1f}, {v:.1f}), outside or too near the edge of {size[1]}×{size[0]} pixels"
        )
        raise InputError(files.camera, fault, "Check that the camera belongs to this image.")
    if depth.shape != size:
        depth = resize_nearest(depth, *size)
    extrinsics = invert_extrinsics(torch.from_numpy(cam2world[:3])).numpy()
    return View(image, depth, intrinsics, extrinsics)


def clean_depth(
    depth: NDArray[np.float32], sky: NDArray[np.bool_] | None, max_depth: float, depth_percentile: float
) -> NDArray[np.float32]:
    """Set to 0, in this order: values that are not positive, values over ``max_depth``, the sky, and outliers.

    Args:
        depth: (H, W) in metres.
        sky: (H, W), True in the sky.
        max_depth: Maximum depth in metres.
        depth_percentile: Remaining depths above this percentile are outliers; 100 keeps all.
    """
    valid = np.isfinite(depth) & (depth > 0)
    valid &= np.where(valid, depth, 0) <= max_depth
    if sky is not None:
        valid &= ~sky
    if depth_percentile < 100 and valid.any():
        valid &= np.where(valid, depth, 0) <= np.percentile(depth[valid], depth_percentile)
    return np.where(valid, depth, np.float32(0))


def _check_aspect(path: Path, shape: tuple[int, ...], image: Path, size: tuple[int, int]) -> None:
    """Refuse a shape whose aspect differs from the image's by more than the rounding of a resize."""
    by_height = size[1] * shape[0] / size[0]  # width of the image at this height
    by_width = size[0] * shape[1] / size[1]
    if min(abs(by_height - shape[1]), abs(by_width - shape[0])) > 1:
        fault = f"is {shape[1]}×{shape[0]}, while {image.name} is {size[1]}×{size[0]}, which has another aspect ratio"
        raise InputError(path, fault, "Check that both belong to the same image.")


def _centre_distance(intrinsics: NDArray[np.float64], size: tuple[int, ...]) -> float:
    """Return the distance of the principal point from the centre of an image of that size, as a log ratio."""
    middle = np.array([size[1], size[0]]) / 2
    return float(np.abs(np.log(np.maximum(intrinsics[:2, 2] + 0.5, 1e-6) / middle)).max())


def choose_views(split: Split, views: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the images of the sample of each pair.

    The two images of the pair come first, followed by images that form a pair of the same scene with either of them,
    in order of decreasing overlap.

    Args:
        split: The pairs.
        views: Images per sample, at least 2.

    Returns:
        Indices (n,) of the pairs with enough distinct images, and the IDs of their images (n, views).
    """
    places = np.flatnonzero(split.pairs[:, 0] != split.pairs[:, 1])
    if views == 2:
        return places, split.pairs[places]
    overlaps: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for (first, second), scene, score in zip(split.pairs.tolist(), split.scene_ids.tolist(), split.scores, strict=True):
        overlaps[scene, first].append((-score, second))
        overlaps[scene, second].append((-score, first))
    kept, chosen = [], []
    for place in places.tolist():
        (first, second), scene = split.pairs[place].tolist(), int(split.scene_ids[place])
        companions = sorted(overlaps[scene, first] + overlaps[scene, second])
        images = list(dict.fromkeys([first, second, *(image for _, image in companions)]))[:views]
        if len(images) == views:
            kept.append(place)
            chosen.append(images)
    return np.array(kept, dtype=np.int64), np.array(chosen, dtype=np.int64).reshape(-1, views)
