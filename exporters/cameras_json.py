"""Writer of cameras as a JSON file that documents its conventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from formats.atomic import write_json
from geometry.arrays import float_array


class NamedCamera(NamedTuple):
    """Camera of an image.

    Attributes:
        name: Name of the image.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        extrinsics: (3, 4), world → camera.
        intrinsics: (3, 3), pixels.
    """

    name: str
    width: int
    height: int
    extrinsics: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def named_cameras(
    names: Sequence[str],
    extrinsics: Tensor | ArrayLike,
    intrinsics: Tensor | ArrayLike,
    width: int | Sequence[int],
    height: int | Sequence[int],
) -> list[NamedCamera]:
    """Combine names, sizes and parameters of cameras; arguments as in `write_cameras_json`.

    Raises:
        ValueError: Names, cameras and sizes differ in number, or a camera is not finite.
    """
    poses, matrices = float_array(extrinsics), float_array(intrinsics)
    count = len(names)
    if poses.shape != (count, 3, 4) or matrices.shape != (count, 3, 3):
        raise ValueError(f"{count} names, but extrinsics {poses.shape} and intrinsics {matrices.shape}")
    sizes = []
    for values in (width, height):
        per_camera = [values] * count if isinstance(values, int) else [int(value) for value in values]
        if len(per_camera) != count:
            raise ValueError(f"{count} names, but {len(per_camera)} image sizes")
        sizes.append(per_camera)
    for name, pose, matrix in zip(names, poses, matrices, strict=True):
        if not (np.isfinite(pose).all() and np.isfinite(matrix).all()):
            raise ValueError(f"the camera of {name} is not finite")
    return [NamedCamera(*values) for values in zip(names, *sizes, poses, matrices, strict=True)]


def write_cameras_json(
    path: str | Path,
    names: Sequence[str],
    extrinsics: Tensor | ArrayLike,
    intrinsics: Tensor | ArrayLike,
    width: int | Sequence[int],
    height: int | Sequence[int],
    unit: str = "of the scene, not metric",
) -> None:
    """Write cameras and their conventions as JSON.

    Args:
        path: The file; missing folders are created.
        names: Names of the V images.
        extrinsics: (V, 3, 4), world → camera.
        intrinsics: (V, 3, 3), pixels; the centre of the first pixel is (0, 0).
        width: Width of the images in pixels: one for all, or V.
        height: Height of the images in pixels: one for all, or V.
        unit: Unit of translations, recorded in the file.

    Raises:
        ValueError: Names, cameras and sizes differ in number, or a camera is not finite.
    """
    cameras = named_cameras(names, extrinsics, intrinsics, width, height)
    conventions = {
        "axes": "OpenCV: x right, y down, z forward",
        "extrinsics": "rows of [R | t], 3 × 4, world to camera: X_camera = R X_world + t",
        "intrinsics": "rows of K, 3 × 3, in pixels; the centre of the upper-left pixel is (0, 0)",
        "unit_of_length": unit,
    }
    entries = [
        {
            "name": camera.name,
            "width": camera.width,
            "height": camera.height,
            "extrinsics": camera.extrinsics.tolist(),
            "intrinsics": camera.intrinsics.tolist(),
        }
        for camera in cameras
    ]
    write_json(path, {"conventions": conventions, "cameras": entries})
