"""Crop, resize, flip and recolour views with their depth and camera: pure functions.

The centre of the first pixel is (0, 0). A crop moves a pixel's u to u − left, a resize by s to (u + ½)·s − ½,
a flip to W − 1 − u. The intrinsics are updated exactly; the extrinsics change only under a flip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from datamodules.transforms import Window, centred_extent, centred_window, crop, resize_nearest
from formats.images import resize_rgb


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


def crop_view(view: View, window: Window) -> View:
    """Crop ``view`` to ``window``."""
    intrinsics = view.intrinsics.copy()
    intrinsics[:2, 2] -= window.left, window.top
    return replace(view, image=crop(view.image, window), depth=crop(view.depth, window), intrinsics=intrinsics)


def resize_view(view: View, height: int, width: int) -> View:
    """Resize ``view``: the image with antialiasing, depth by the nearest pixel, since depths must not mix at edges."""
    image = resize_rgb(np.ascontiguousarray(view.image), height, width)
    intrinsics = resize_intrinsics(view.intrinsics, view.size, (height, width))
    return replace(view, image=image, depth=resize_nearest(view.depth, height, width), intrinsics=intrinsics)


def resize_intrinsics(
    intrinsics: NDArray[np.float64], size: tuple[int, int], new_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return intrinsics (3, 3) after resizing an image from ``size`` to ``new_size``, both height and width."""
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]]) @ intrinsics


def flip_view(view: View) -> View:
    """Mirror ``view`` left to right: what a camera with a proper rotation sees in a world mirrored in x.

    With M = diag(−1, 1, 1), a world point X becomes M·X, and R·X + t becomes (M·R·M)·(M·X) + M·t, which is
    mirrored in the camera too. All views of a scene must be flipped together, since they share the world.
    """
    mirror = np.diag([-1.0, 1.0, 1.0])
    intrinsics = view.intrinsics.copy()
    intrinsics[0, 2] = view.size[1] - 1 - intrinsics[0, 2]
    intrinsics[0, 1] = -intrinsics[0, 1]
    rotation, translation = view.extrinsics[:, :3], view.extrinsics[:, 3:]
    extrinsics = np.concatenate([mirror @ rotation @ mirror, mirror @ translation], axis=1)
    return View(view.image[:, ::-1], view.depth[:, ::-1], intrinsics, extrinsics)


def natural_aspect(views: list[View]) -> float:
    """Return the aspect (height / width) that best fits the views' largest windows: the extremes' geometric mean."""
    aspects = [height / width for height, width in (centred_extent(view.size, principal_point(view)) for view in views)]
    return sqrt(min(aspects) * max(aspects))


def principal_point(view: View) -> tuple[float, float]:
    """Return column and row of the principal point."""
    return float(view.intrinsics[0, 2]), float(view.intrinsics[1, 2])


def fit_view(view: View, height: int, width: int, scale: float = 1.0) -> View:
    """Crop ``view`` about its principal point to the aspect of the output, and resize it."""
    window = centred_window(view.size, principal_point(view), height / width, scale)
    return resize_view(crop_view(view, window), height, width)


def change_colours(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Change brightness, then contrast about the mean grey, then saturation; a factor of 1 changes nothing.

    Args:
        image: (H, W, 3).
        brightness: Factor, at least 0.
        contrast: Factor, at least 0.
        saturation: Factor, at least 0.
    """
    values: NDArray[np.float32] = np.minimum(image.astype(np.float32) * brightness, 255)
    mean = float(_luma(values).mean())
    values = np.clip((values - mean) * contrast + mean, 0, 255)
    grey = _luma(values)[..., None]
    result: NDArray[np.uint8] = np.clip((values - grey) * saturation + grey + 0.5, 0, 255).astype(np.uint8)
    return result


def _luma(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Written out, since the last bit of a matrix product may depend on the number of threads.
    red, green, blue = np.moveaxis(values, -1, 0)
    luma: NDArray[np.float32] = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    return luma
