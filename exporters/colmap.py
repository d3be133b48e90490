"""Writer of COLMAP text models, which COLMAP, Gaussian splatting and photogrammetry programs open.

Format: https://colmap.github.io/format.html#text-format
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from exporters.cameras_json import NamedCamera, named_cameras
from formats.atomic import write_text
from formats.errors import InputError
from geometry.rotations import matrix_to_quaternion

# COLMAP puts the centre of the upper-left pixel at (0.5, 0.5); here it is (0, 0).
PIXEL_SHIFT = 0.5

_OTHER_MODEL_FILES = ("cameras.bin", "images.bin", "points3D.bin", "rigs.bin", "frames.bin", "rigs.txt", "frames.txt")


def write_colmap_text(
    folder: str | Path,
    names: Sequence[str],
    extrinsics: Tensor | ArrayLike,
    intrinsics: Tensor | ArrayLike,
    width: int | Sequence[int],
    height: int | Sequence[int],
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    max_points: int = 20_000,
) -> None:
    """Write cameras.txt, images.txt and points3D.txt: one PINHOLE camera per image, points without tracks.

    Programs that filter points by track length show no points.

    Args:
        folder: The folder, created if missing.
        names: Names of the V images relative to COLMAP's image folder, without spaces.
        extrinsics: (V, 3, 4), world → camera, OpenCV axes, as in COLMAP.
        intrinsics: (V, 3, 3), pixels, without skew; the centre of the first pixel is (0, 0).
        width: Width of the images in pixels: one for all, or V.
        height: Height of the images in pixels: one for all, or V.
        points: (N, 3), in the world.
        colours: (N, 3).
        max_points: Maximum number of points; more are subsampled at random with a fixed seed.

    Raises:
        InputError: The folder holds files of another COLMAP model, which programs would read too.
        ValueError: Names, cameras, sizes, points or colours differ in number; a camera has skew or is not finite;
            or a name has a space or is not unique.
    """
    cameras = named_cameras(names, extrinsics, intrinsics, width, height)
    _check(cameras)
    if points.shape != colours.shape or points.ndim != 2:
        raise ValueError(f"points {points.shape} and colours {colours.shape} must both be (N, 3)")
    folder = Path(folder)
    if found := [name for name in _OTHER_MODEL_FILES if (folder / name).exists()]:
        raise InputError(folder, f"holds {found[0]} of another COLMAP model", "Write to another folder.")
    if len(points) > max_points:
        chosen = np.sort(np.random.default_rng(0).choice(len(points), max_points, replace=False))
        points, colours = points[chosen], colours[chosen]
    write_text(folder / "cameras.txt", _cameras_text(cameras))
    write_text(folder / "images.txt", _images_text(cameras))
    write_text(folder / "points3D.txt", _points_text(points, colours))


def _check(cameras: list[NamedCamera]) -> None:
    names = [camera.name for camera in cameras]
    if len(set(names)) != len(names):
        raise ValueError("two images have the same name")
    for camera in cameras:
        if any(character.isspace() for character in camera.name) or not camera.name:
            raise ValueError(f"image names in COLMAP's text files must not have spaces or be empty: {camera.name!r}")
        if camera.intrinsics[0, 1] != 0:
            raise ValueError(f"the camera of {camera.name} has skew, which COLMAP's PINHOLE model lacks")


def _cameras_text(cameras: list[NamedCamera]) -> str:
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy, the upper-left pixel's centre at (0.5, 0.5)"]
    for number, camera in enumerate(cameras, start=1):
        k = camera.intrinsics
        values = _numbers([k[0, 0], k[1, 1], k[0, 2] + PIXEL_SHIFT, k[1, 2] + PIXEL_SHIFT])
        lines.append(f"{number} PINHOLE {camera.width} {camera.height} {values}")
    return "\n".join(lines) + "\n"


def _images_text(cameras: list[NamedCamera]) -> str:
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, world to camera; the line of 2-D points is empty"]
    for number, camera in enumerate(cameras, start=1):
        x, y, z, w = matrix_to_quaternion(torch.from_numpy(camera.extrinsics[:, :3])).tolist()
        pose = _numbers([w, x, y, z, *camera.extrinsics[:, 3]])
        lines += [f"{number} {pose} {number} {camera.name}", ""]
    return "\n".join(lines) + "\n"


def _points_text(points: NDArray[np.float32], colours: NDArray[np.uint8]) -> str:
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]; an error of -1 means unknown; tracks are empty"]
    for number, (point, colour) in enumerate(zip(points.tolist(), colours.tolist(), strict=True), start=1):
        lines.append(f"{number} {_numbers(point)} {colour[0]} {colour[1]} {colour[2]} -1")
    return "\n".join(lines) + "\n"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)  # repr reads back to the same bits
