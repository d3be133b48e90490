"""Small AerialMegaDepth dataset: photographs of a textured plane with exact depth and cameras."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from formats.aerial_megadepth import image_files, write_camera, write_split
from formats.errors import InputError
from formats.exr import write_depth
from formats.images import write_png

Array = NDArray[np.float64]
NORMAL, OFFSET = np.array([0.05, -0.1, 1.0]), 60.0  # the plane n·X = offset, in metres
SKY_ROWS = 6  # at the top of every image, where depth reads far away
SCENES = {"0001": ["a.jpg", "b.jpg", "c.jpg"], "0002": ["0001_083.jpeg", "y.png"]}
SIDE = 56  # longer side of what is loaded
PAIRS = [(0, 1), (1, 2), (3, 4)]


def camera(number: int, size: tuple[int, int]) -> tuple[Array, Array]:
    """Return intrinsics and cam2world of a camera whose principal point is slightly off the centre."""
    height, width = size
    angle = 0.05 * number
    cam2world = np.eye(4)
    cam2world[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    cam2world[:3, 3] = [2.0 * number, -1.0, 0.5 * number]
    focal = 0.9 * max(size)
    intrinsics = np.array([[focal, 0, width / 2 + 1 - number], [0, focal, height / 2 - 2], [0, 0, 1]])
    return intrinsics, cam2world


def exact_depth(
    intrinsics: NDArray[np.float64], cam2world: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the depth (H, W) of the plane along the optical axis."""
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    rays = np.stack([u, v, np.ones(size)], axis=-1) @ np.linalg.inv(intrinsics).T @ cam2world[:3, :3].T
    depth: NDArray[np.float64] = (OFFSET - cam2world[:3, 3] @ NORMAL) / (rays @ NORMAL)
    return depth


def write_scene(root: Path, size: tuple[int, int] = (72, 96)) -> Path:
    """Write ``root``/train.npz, val.npz, both scenes, and their masks in ``root``/seg."""
    images = [(scene, image) for scene, names in SCENES.items() for image in names]
    for number, (scene, image) in enumerate(images):
        files = image_files(root, root / "seg", scene, image)
        intrinsics, cam2world = camera(number, size)
        depth = exact_depth(intrinsics, cam2world, size).astype(np.float32)
        labels = np.ones(size, np.uint8)
        labels[:SKY_ROWS], depth[:SKY_ROWS] = 2, 500.0
        v, u = np.mgrid[: size[0], : size[1]]
        colours = np.stack([u * 2, v * 2, (u + v) % 32 * 4 + 20 * number], axis=-1).astype(np.uint8)
        files.image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(files.image, quality=95)
        write_depth(files.depth, depth)
        write_camera(files.camera, intrinsics, cam2world)
        assert files.mask is not None
        write_png(files.mask, labels)
    names, owners = [image for _, image in images], [scene for scene, _ in images]
    for split, pairs in (("train", PAIRS), ("val", PAIRS[::2])):
        scores = np.linspace(0.5, 0.3, len(pairs))
        write_split(root / f"{split}.npz", list(SCENES), names, owners, np.array(pairs), scores)
    return root


def ready(root: Path, stage: str = "fit", **arguments: Any) -> AerialMegaDepthDataModule:
    """Return a datamodule on ``root`` with its masks, set up for a stage."""
    settings: dict[str, Any] = {"image_size": SIDE, "num_workers": 0, "segmentation_dir": str(root / "seg")} | arguments
    data = AerialMegaDepthDataModule(str(root), **settings)
    data.prepare_data()
    data.setup(stage)
    return data


def error_of(loader: Iterable[object]) -> str:
    """Return the message of the InputError that reading ``loader`` raises.

    Unlike ``pytest.raises`` it keeps no traceback, with which the workers would live on into later tests.
    """
    try:
        list(loader)
    except InputError as fault:
        return str(fault)
    raise AssertionError("no InputError")
