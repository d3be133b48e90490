"""Files of AerialMegaDepth datasets: splits, cameras, segmentations, and the paths of an image's files.

    <root>/train.npz, val.npz
    <root>/<scene>/<image>.jpg   <image>.exr   <image>.npz       <image> with its own extension: "x.jpg.jpg"
    <segmentation_root>/<scene>/<image>.png                      labels of ADE20k, see `formats.ade20k`

Source: Vuong et al., "AerialMegaDepth" (CVPR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.images import open_image
from formats.local_files import is_within, path_within
from formats.restricted_pickle import read_npz

PAIR_FIELDS = ("scene_id", "im1_id", "im2_id", "score")
LARGEST = 1e8
ROTATION_TOLERANCE = 1e-3  # cameras come from single precision

SPLIT_REMEDY = "Create or download the split file again."
CAMERA_REMEDY = "Save 'intrinsics' (3, 3) in pixels and 'cam2world' (4, 4) with OpenCV axes."


@dataclass(frozen=True)
class Split:
    """Pairs of overlapping images.

    Attributes:
        path: The file.
        scenes: Names of the scenes; None for unused IDs.
        images: Names of the images with their own extension, by image ID; None for unused IDs.
        images_scene_name: Folder of each image, by image ID; None for unused IDs.
        pairs: (k, 2) int64, image IDs, none of them unused.
        scene_ids: (k,) int64, indices of ``scenes``.
        scores: (k,) float64, overlap.
    """

    path: Path
    scenes: list[str | None]
    images: list[str | None]
    images_scene_name: list[str | None]
    pairs: NDArray[np.int64]
    scene_ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, image_id: int) -> tuple[str, str]:
        """Return scene and name of an image.

        The scene is that of the image, which may differ from that of a pair.
        """
        scene, name = self.images_scene_name[image_id], self.images[image_id]
        assert isinstance(scene, str), "read_split ensures that pairs refer to used IDs only"
        assert isinstance(name, str), "read_split ensures that pairs refer to used IDs only"
        return scene, name


@dataclass(frozen=True)
class ImageFiles:
    """Files of one image; ``mask`` is None if no segmentation is used."""

    image: Path
    depth: Path
    camera: Path
    mask: Path | None

    def all(self) -> list[Path]:
        """Return all files that should exist."""
        return [self.image, self.depth, self.camera, *([self.mask] if self.mask else [])]


def image_files(root: str | Path, segmentation_root: str | Path | None, scene: str, image: str) -> ImageFiles:
    """Return the paths of the files of ``image``, whether or not they exist.

    Raises:
        InputError: One of them is not within its root.
    """
    name = f"{scene}/{image}"
    mask = None if segmentation_root is None else path_within(segmentation_root, f"{name}.png", segmentation_root)
    photo, depth, camera = (path_within(root, f"{name}.{suffix}", root) for suffix in ("jpg", "exr", "npz"))
    return ImageFiles(photo, depth, camera, mask)


def split_path(root: str | Path, name: str | Path) -> Path:
    """Return the path of a split file: that of the dataset in ``root`` if it has one of this name, else ``name``."""
    inside = Path(root) / name
    return inside if inside.is_file() or not Path(name).is_file() else Path(name)


def read_split(path: str | Path) -> Split:
    """Read a split file in any of its variants: structured, float or object pairs; and names that are None.

    Raises:
        InputError: The file is missing, corrupt, lacks an array or pickles anything but data; an ID is not an
            integer or out of range; a pair refers to an unused ID; or a name points outside its folder.
    """
    path = Path(path)
    arrays = read_npz(path, ["scenes", "images", "pairs", "images_scene_name"])
    scenes, images, owners = (_names(path, key, arrays[key]) for key in ("scenes", "images", "images_scene_name"))
    if len(images) != len(owners):
        fault = f"has {len(images)} images but {len(owners)} entries in 'images_scene_name'"
        raise InputError(path, fault, SPLIT_REMEDY)
    table = _pair_table(path, arrays["pairs"])
    ids = _whole_numbers(path, table[:, :3])
    for column, (kind, count) in enumerate([("scene", len(scenes)), ("image", len(images)), ("image", len(images))]):
        wrong = np.flatnonzero((ids[:, column] < 0) | (ids[:, column] >= count))
        if wrong.size:
            fault = f"pair {wrong[0]} names {kind} {ids[wrong[0], column]}, but there are {count}, counted from 0"
            raise InputError(path, fault, SPLIT_REMEDY)
    if not np.isfinite(table[:, 3]).all():
        raise InputError(path, "has an overlap that is not finite", SPLIT_REMEDY)
    unused = np.array([image is None or owner is None for image, owner in zip(images, owners, strict=True)], dtype=bool)
    wrong = np.flatnonzero(unused[ids[:, 1:]].any(axis=1)) if len(ids) else ids[:0, 0]
    if wrong.size:
        image_id = next(int(i) for i in ids[wrong[0], 1:] if unused[i])
        fault = f"pair {wrong[0]} names image {image_id}, which has no name or no scene"
        raise InputError(path, fault, SPLIT_REMEDY)
    return Split(path, scenes, images, owners, ids[:, 1:], ids[:, 0], table[:, 3])


def _names(path: Path, key: str, array: NDArray[Any]) -> list[str | None]:
    if array.ndim != 1:
        raise InputError(path, f"{key!r} has shape {array.shape}, not (n,)", SPLIT_REMEDY)
    names: list[str | None] = []
    for place, item in enumerate(array.tolist()):
        name = item.decode(errors="replace") if isinstance(item, bytes) else item
        if name is not None:
            if not isinstance(name, str):
                raise InputError(path, f"entry {place} of {key!r} is {name!r}, not a name", SPLIT_REMEDY)
            # Names become parts of paths, including paths that are written to when a pair is extracted.
            if not is_within(name) or "\\" in name:
                raise InputError(
                    path,
                    f"entry {place} of {key!r} is {name!r}, which is not a file name within the folder",
                    SPLIT_REMEDY,
                )
        names.append(name)
    return names


def _pair_table(path: Path, pairs: NDArray[Any]) -> NDArray[np.float64]:
    """Return scene ID, two image IDs and score as (k, 4); float64 is exact for IDs below 2⁵³."""
    try:
        if pairs.dtype.names is not None:
            return np.stack([pairs[name].astype(np.float64) for name in PAIR_FIELDS], axis=1)
        if pairs.dtype == object and pairs.ndim == 1:
            pairs = np.array([np.asarray(tuple(pair), dtype=np.float64) for pair in pairs]).reshape(-1, 4)
        table = pairs.astype(np.float64)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(path, f"'pairs' cannot be read: {error}", SPLIT_REMEDY) from error
    if table.ndim != 2 or table.shape[1] != 4:
        fault = f"'pairs' has shape {pairs.shape}, not (k, 4): scene, image, image, score"
        raise InputError(path, fault, SPLIT_REMEDY)
    return table


def _whole_numbers(path: Path, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    wrong = np.argwhere(~(np.isfinite(numbers) & (numbers == np.round(numbers))))
    if wrong.size:
        row, column = wrong[0]
        fault = f"pair {row} has {numbers[row, column]} as an ID"
        raise InputError(path, fault, SPLIT_REMEDY)
    return numbers.astype(np.int64)


def write_split(
    path: str | Path,
    scenes: Sequence[str],
    images: Sequence[str],
    images_scene_name: Sequence[str],
    pairs: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Write a split file without pickles; equal content gives equal bytes.

    Args:
        path: The file, ending in ``.npz``.
        scenes: Names of the scenes.
        images: Names of the images with their own extension.
        images_scene_name: The scene of each image, one of ``scenes``.
        pairs: (k, 2), indices of ``images``. A pair belongs to the scene of its first image.
        scores: (k,), overlap in 0…1.
    """
    table = np.zeros(len(pairs), dtype=[(name, "<f8" if name == "score" else "<i8") for name in PAIR_FIELDS])
    indices = {scene: index for index, scene in enumerate(scenes)}
    table["scene_id"] = [indices[images_scene_name[first]] for first, _ in pairs]
    table["im1_id"], table["im2_id"] = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    table["score"] = scores
    names, image_names, owners = (np.array(list(n), dtype=str) for n in (scenes, images, images_scene_name))
    with atomic_path(path) as temporary:
        np.savez(temporary, scenes=names, images=image_names, images_scene_name=owners, pairs=table)


def read_camera(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read a camera: ``intrinsics`` (3, 3) in pixels and ``cam2world`` (4, 4), both float64, OpenCV axes.

    Raises:
        InputError: The file is missing or corrupt; or one of the two is missing, has another shape, is not finite or is
            not a camera matrix, with positive focal lengths and a proper rotation.
    """
    arrays = read_npz(path, ["intrinsics", "cam2world"])
    for key, shape in (("intrinsics", (3, 3)), ("cam2world", (4, 4))):
        if arrays[key].shape != shape or arrays[key].dtype.kind not in "iuf":
            fault = f"{key!r} is {arrays[key].dtype} of shape {arrays[key].shape}, not numbers of shape {shape}"
            raise InputError(path, fault, CAMERA_REMEDY)
        if not np.isfinite(arrays[key]).all():
            raise InputError(path, f"{key!r} is not finite", CAMERA_REMEDY)
    intrinsics, cam2world = arrays["intrinsics"].astype(np.float64), arrays["cam2world"].astype(np.float64)
    if min(intrinsics[0, 0], intrinsics[1, 1]) <= 0 or intrinsics[1, 0] != 0 or (intrinsics[2] != [0, 0, 1]).any():
        fault = f"'intrinsics' is not a camera matrix: {intrinsics.tolist()}"
        raise InputError(path, fault, CAMERA_REMEDY)
    if max(np.abs(intrinsics).max(), np.abs(cam2world).max()) > LARGEST:
        fault = f"has numbers over {LARGEST:g}, the largest focal length in pixels and position in metres"
        raise InputError(path, fault, CAMERA_REMEDY)
    rotation = cam2world[:3, :3]
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if error > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0 or (cam2world[3] != [0, 0, 0, 1]).any():
        raise InputError(path, "'cam2world' is not a rotation and a translation", CAMERA_REMEDY)
    return intrinsics, cam2world


def write_camera(path: str | Path, intrinsics: NDArray[np.floating], cam2world: NDArray[np.floating]) -> None:
    """Write ``intrinsics`` (3, 3) in pixels and ``cam2world`` (4, 4), OpenCV axes; ``path`` ends in ``.npz``."""
    if intrinsics.shape != (3, 3) or cam2world.shape != (4, 4):
        raise ValueError(
            f"intrinsics and cam2world must be (3, 3) and (4, 4), not {intrinsics.shape} and {cam2world.shape}"
        )
    with atomic_path(path) as temporary:
        np.savez(temporary, intrinsics=intrinsics, cam2world=cam2world)


def read_labels(path: str | Path) -> NDArray[np.integer]:
    """Read a segmentation (H, W) with a label per pixel.

    Raises:
        InputError: The file is missing, truncated, not an image, or in colour.
    """
    remedy = "Save one ADE20k label per pixel as a grey or palette PNG."
    with open_image(path, remedy=remedy) as image:
        labels = np.asarray(image)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InputError(path, f"holds {labels.dtype} of shape {labels.shape}, not labels (H, W)", remedy)
    return labels
