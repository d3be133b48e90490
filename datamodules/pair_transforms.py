"""Crop, resize and flip of a view with its depth and camera, and where to crop: pure functions.

The centre of the first pixel is (0, 0). A crop moves a pixel's u to u − left, a resize by s to (u + ½)·s − ½,
a flip to W − 1 − u; the intrinsics follow exactly, the extrinsics change under a flip only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.images import resize_rgb

PATCH = 14  # side of the network's patches; sides of images are multiples of it


@dataclass(frozen=True)
class View:
    """An image with its depth and camera.

    Attributes:
        image: (H, W, 3) uint8.
        depth: (H, W) float32, along the optical axis; 0 = none.
        intrinsics: (3, 3) float64, pixels.
        extrinsics: (3, 4) float64, world → camera, OpenCV axes.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    extrinsics: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.image.shape[:2]
        return height, width


@dataclass(frozen=True)
class Window:
    """A part of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


def output_size(aspect: float, image_size: int) -> tuple[int, int]:
    """Height and width of an output: the longer side is ``image_size``, both are multiples of 14.

    Args:
        aspect: Height over width to come closest to.
        image_size: Longer side, a multiple of 14.
    """
    short = max(PATCH, round(image_size * min(aspect, 1 / aspect) / PATCH) * PATCH)
    return (short, image_size) if aspect <= 1 else (image_size, short)


def centred_extent(size: tuple[int, int], centre: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest part of an image that has ``centre`` in its middle.

    Args:
        size: Height and width of the image.
        centre: The point's column and row, usually the principal point. Not positive where it lies outside.
    """
    (height, width), (u, v) = size, centre
    reach = 1e-6  # a principal point that was computed may miss the middle by rounding
    return floor(2 * min(v + 0.5, height - 0.5 - v) + reach), floor(2 * min(u + 0.5, width - 0.5 - u) + reach)


def centred_window(
    size: tuple[int, int], centre: tuple[float, float], aspect: float | None = None, scale: float = 1.0
) -> Window:
    """The largest window that has ``centre`` in its middle, to half a pixel.

    Args:
        size: Height and width of the image.
        centre: Column and row of the point, inside the image.
        aspect: Height over width of the window; None takes what there is.
        scale: Part of the largest window's sides, in 0…1.
    """
    height, width = (float(side) for side in centred_extent(size, centre))
    if aspect is not None:
        height, width = min(height, width * aspect), min(width, height / aspect)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top = min(max(round(centre[1] - (rows - 1) / 2), 0), size[0] - rows)
    left = min(max(round(centre[0] - (columns - 1) / 2), 0), size[1] - columns)
    return Window(top, left, rows, columns)


def crop(view: View, window: Window) -> View:
    """Cut ``window`` out of ``view``."""
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    intrinsics = view.intrinsics.copy()
    intrinsics[:2, 2] -= window.left, window.top
    return replace(view, image=view.image[rows, columns], depth=view.depth[rows, columns], intrinsics=intrinsics)


def resize(view: View, height: int, width: int) -> View:
    """Resize ``view``: the image antialiased, depth by the nearest pixel, since edges must not be mixed."""
    image = resize_rgb(np.ascontiguousarray(view.image), height, width)
    intrinsics = resize_intrinsics(view.intrinsics, view.size, (height, width))
    return replace(view, image=image, depth=resize_nearest(view.depth, height, width), intrinsics=intrinsics)


def resize_intrinsics(
    intrinsics: NDArray[np.float64], size: tuple[int, int], new_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Intrinsics (3, 3) after resizing an image from ``size`` to ``new_size``, both height and width."""
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ intrinsics


def resize_nearest(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize (H, W) by taking the source pixel whose area holds the centre of the new one."""
    rows = ((np.arange(height) + 0.5) * (values.shape[0] / height)).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * (values.shape[1] / width)).astype(np.int64)
    return values.take(rows, axis=0).take(columns, axis=1)  # five times as fast as indexing by both


def flip(view: View) -> View:
    """Mirror ``view`` left to right, as a camera with a proper rotation that sees the world mirrored in x.

    With M = diag(−1, 1, 1), a world point X becomes M·X, and R·X + t becomes (M·R·M)·(M·X) + M·t: mirrored in
    the camera too. All views of a scene must be flipped together, since they share the world.
    """
    mirror = np.diag([-1.0, 1.0, 1.0])
    intrinsics = view.intrinsics.copy()
    intrinsics[0, 2] = view.size[1] - 1 - intrinsics[0, 2]
    intrinsics[0, 1] = -intrinsics[0, 1]
    rotation, translation = view.extrinsics[:, :3], view.extrinsics[:, 3:]
    extrinsics = np.concatenate([mirror @ rotation @ mirror, mirror @ translation], axis=1)
    return View(view.image[:, ::-1], view.depth[:, ::-1], intrinsics, extrinsics)


def natural_aspect(views: list[View]) -> float:
    """Height over width that suits all views' largest windows: the geometric mean of the extremes."""
    aspects = [height / width for height, width in (centred_extent(view.size, principal_point(view)) for view in views)]
    return sqrt(min(aspects) * max(aspects))


def principal_point(view: View) -> tuple[float, float]:
    """Column and row of the principal point."""
    return float(view.intrinsics[0, 2]), float(view.intrinsics[1, 2])


def fit(view: View, height: int, width: int, scale: float = 1.0) -> View:
    """Crop ``view`` about its principal point to the shape of the output, and resize it to that."""
    window = centred_window(view.size, principal_point(view), height / width, scale)
    return resize(crop(view, window), height, width)


def change_colours(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Change brightness, then contrast about the mean grey, then saturation; 1 leaves each as it is.

    Args:
        image: (H, W, 3).
        brightness: Factor, 0 or more; so are the others.
        contrast: Factor.
        saturation: Factor.
    """
    luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    values = np.minimum(image.astype(np.float32) * brightness, 255)
    mean = float((values @ luma).mean())
    values = np.clip((values - mean) * contrast + mean, 0, 255)
    grey = (values @ luma)[..., None]
    return np.clip((values - grey) * saturation + grey + 0.5, 0, 255).astype(np.uint8)
