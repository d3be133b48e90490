"""A layered illustration as a solid relief: STL for printers, GLB with its colours for viewers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.stl import export_stl
from trimesh.visual.material import PBRMaterial

from formats.atomic import atomic_path
from formats.images import on_white

METRES_PER_MILLIMETRE = 1e-3  # glTF's unit over STL's

_MOST_LEVELS = 256  # above, heights are no layers and are picked, not voted on
_LARGEST_TEXTURE = 2048  # pixels


def layer_heights(
    labels: NDArray[np.integer], layer_indices: Sequence[float], spacing: Literal["equal", "index"] = "equal"
) -> NDArray[np.float32]:
    """Give every pixel the height of its layer.

    Args:
        labels: (H, W), the place of the layer seen there in ``layer_indices``; −1 where there is none.
        layer_indices: Layer index in 0…1 of each layer, bottom to top.
        spacing: ``equal`` raises each of N layers by 1/N above the one beneath, the lowest by 1/N above nothing;
            ``index`` takes the layer index for the height, so that a background of 0 lies flat on the base.

    Returns:
        (H, W), 0…1; 0 where there is no layer.

    Raises:
        ValueError: A label names no layer, or a layer index is not in 0…1.
    """
    number = len(layer_indices)
    indices = np.asarray(layer_indices, dtype=np.float32)
    if labels.size and not (labels.min() >= -1 and labels.max() < number):
        raise ValueError(f"labels {labels.min()} … {labels.max()} do not fit to {number} layers")
    if not ((indices >= 0) & (indices <= 1)).all():
        raise ValueError(f"layer indices are numbers in 0 … 1, not {list(layer_indices)}")
    steps = np.arange(1, number + 1, dtype=np.float32) / max(number, 1) if spacing == "equal" else indices
    return np.append(steps, np.float32(0))[labels]  # label −1 is the last, 0


def relief_mesh(
    heights: NDArray[np.float32],
    image: NDArray[np.uint8] | None = None,
    *,
    width_mm: float = 100,
    relief_mm: float = 8,
    base_mm: float = 2,
    max_side: int = 512,
) -> trimesh.Trimesh:
    """Raise a height map to a watertight solid with a flat bottom and upright sides.

    The top has a vertex in the middle of every pixel and along the rim: layers stay flat, and the walls between
    them are one pixel wide. So no two surfaces ever meet in a line, as exact steps would where pixels touch by a
    corner, and the solid is a manifold whatever the map.

    Args:
        heights: (H, W), 0…1, such as those of `layer_heights`.
        image: (H, W, 3) or (H, W, 4), of any size; becomes the texture, laid on white where transparent.
        width_mm: Width of the whole in millimetres; its depth follows from the map's proportions.
        relief_mm: What height 1 stands above the base.
        base_mm: Thickness under height 0, above 0.
        max_side: A longer map is reduced to so many pixels on its longer side; each takes the height that most
            of its area has, so that heights stay those of layers.

    Returns:
        In millimetres: x right and y up as in the image, z toward who looks at it, from (0, 0, 0) on.

    Raises:
        ValueError: Heights are not (H, W) numbers in 0…1, or a measure is not positive.
    """
    if heights.ndim != 2 or not heights.size:
        raise ValueError(f"heights have shape {heights.shape}, not (H, W)")
    if not ((heights >= 0) & (heights <= 1)).all():
        raise ValueError("heights are numbers in 0 … 1")
    if min(width_mm, base_mm, max_side) <= 0 or relief_mm < 0:
        raise ValueError("width_mm, base_mm and max_side are above 0, relief_mm is not below")
    depth_mm = width_mm * heights.shape[0] / heights.shape[1]
    levels = _reduced(heights, max_side)
    rows, columns = levels.shape
    x = _stations(columns) / columns
    y = 1 - _stations(rows) / rows
    z = base_mm + relief_mm * np.pad(levels.astype(np.float64), 1, mode="edge")

    share_y, share_x = np.meshgrid(y, x, indexing="ij")
    top = np.stack([share_x, share_y, z], axis=-1).reshape(-1, 3)
    rim = _rim(*z.shape)
    bottom = top[rim] * [1, 1, 0]
    vertices = np.concatenate([top, bottom, [[0.5, 0.5, 0]]])
    faces = np.concatenate([_top_faces(*z.shape), _hull_faces(rim, len(top))])
    visual = None if image is None else _texture(image, vertices[:, :2])
    return trimesh.Trimesh(vertices * [width_mm, depth_mm, 1], faces, visual=visual, process=False)


def write_relief(
    stl_path: str | Path,
    glb_path: str | Path,
    heights: NDArray[np.float32],
    image: NDArray[np.uint8] | None = None,
    *,
    width_mm: float = 100,
    relief_mm: float = 8,
    base_mm: float = 2,
    max_side: int = 512,
) -> None:
    """Write the solid of `relief_mesh` for printers and for viewers.

    STL has no unit; printers take millimetres, and the relief lies on its back, z up. glTF has metres, y up, and an
    object's front toward +z: there the relief stands upright like the picture and faces the viewer. Both have the
    same axes therefore. The GLB holds no normals, which by glTF's rules makes viewers shade every triangle flat.

    Args:
        stl_path: Binary STL; a folder that is missing is made.
        glb_path: GLB with the image as texture; a folder that is missing is made.
        heights: As for `relief_mesh`, as everything below.
        image: Colours; None leaves the GLB plain.
        width_mm: Width in millimetres.
        relief_mm: What height 1 stands above the base.
        base_mm: Thickness under height 0.
        max_side: Most pixels on the longer side.

    Raises:
        ValueError: As `relief_mesh`.
    """
    mesh = relief_mesh(heights, image, width_mm=width_mm, relief_mm=relief_mm, base_mm=base_mm, max_side=max_side)
    with atomic_path(stl_path) as temporary:
        temporary.write_bytes(export_stl(mesh))
    mesh.apply_scale(METRES_PER_MILLIMETRE)
    with atomic_path(glb_path) as temporary:
        temporary.write_bytes(export_glb(trimesh.Scene(mesh), include_normals=False))


def _reduced(heights: NDArray[np.float32], max_side: int) -> NDArray[np.float32]:
    """Return heights no longer than ``max_side``; every one of them is a height that was there."""
    longest = max(heights.shape)
    if longest <= max_side:
        return heights
    height, width = (max(1, round(side * max_side / longest)) for side in heights.shape)
    levels, place = np.unique(heights, return_inverse=True)
    if len(levels) > _MOST_LEVELS:
        return np.asarray(Image.fromarray(heights.astype(np.float32)).resize((width, height), Image.Resampling.NEAREST))
    place = place.reshape(heights.shape)
    most, winner = np.full((height, width), -1.0, dtype=np.float32), np.zeros((height, width), dtype=np.int64)
    for number in range(len(levels)):
        mask = Image.fromarray((place == number).astype(np.float32))
        area = np.asarray(mask.resize((width, height), Image.Resampling.BOX))
        ahead = area > most
        most[ahead], winner[ahead] = area[ahead], number
    return levels[winner].astype(np.float32)


def _stations(number: int) -> NDArray[np.float64]:
    """Return where vertices stand along so many pixels: at both ends and in the middle of each, (number + 2)."""
    return np.concatenate([[0.0], np.arange(number) + 0.5, [number]])


def _rim(rows: int, columns: int) -> NDArray[np.int64]:
    """Return the numbers of the outermost vertices of a grid, clockwise in the image from its upper left."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    return np.concatenate([grid[0, :-1], grid[:-1, -1], grid[-1, :0:-1], grid[:0:-1, 0]])


def _top_faces(rows: int, columns: int) -> NDArray[np.int64]:
    grid = np.arange(rows * columns).reshape(rows, columns)
    upper_left, upper_right = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel()
    lower_left, lower_right = grid[1:, :-1].ravel(), grid[1:, 1:].ravel()
    # Counter-clockwise as seen from above, where y points up the image.
    first = np.stack([upper_left, lower_left, lower_right], axis=1)
    second = np.stack([upper_left, lower_right, upper_right], axis=1)
    return np.concatenate([first, second])


def _hull_faces(rim: NDArray[np.int64], top_count: int) -> NDArray[np.int64]:
    """Join the rim of the top to the bottom's, which follows the top's vertices, and that to the bottom's middle."""
    below = top_count + np.arange(len(rim))
    middle = np.full(len(rim), top_count + len(rim))
    next_rim, next_below = np.roll(rim, -1), np.roll(below, -1)
    sides = [np.stack([rim, next_rim, below], axis=1), np.stack([next_rim, next_below, below], axis=1)]
    return np.concatenate([*sides, np.stack([below, next_below, middle], axis=1)])


def _texture(image: NDArray[np.uint8], shares: NDArray[np.float64]) -> trimesh.visual.TextureVisuals:
    """Lay the image on vertices at (N, 2) shares of its width and, from its lower edge, of its height."""
    opaque = on_white(image) if image.shape[2] == 4 else image
    picture = Image.fromarray(opaque)
    picture.thumbnail((_LARGEST_TEXTURE, _LARGEST_TEXTURE), Image.Resampling.LANCZOS)
    # Half a texel from the edges, since textures repeat and would blend with the opposite edge there.
    half = 0.5 / np.array(picture.size)
    material = PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0)
    return trimesh.visual.TextureVisuals(uv=np.clip(shares, half, 1 - half), material=material)
