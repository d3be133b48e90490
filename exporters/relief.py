"""A layered illustration as a solid relief: STL for 3D printers, GLB with colours for viewers."""

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

HEIGHT_MM = 8.0  # of the foremost layer above the background
BASE_MM = 2.0  # thickness of the plate under the background
METRES_PER_MILLIMETRE = 1e-3  # unit of glTF and of STL

_MAX_LEVELS = 256  # with more distinct heights, a reduced pixel gets the nearest height, not the most common one
_MAX_TEXTURE = 2048  # pixels


def layer_heights(
    labels: NDArray[np.integer], layer_indices: Sequence[float], spacing: Literal["equal", "index"] = "equal"
) -> NDArray[np.float32]:
    """Return the height of every pixel's layer.

    Args:
        labels: (H, W), number of the visible layer in ``layer_indices``; −1 for none.
        layer_indices: Layer index in 0…1 of each layer, bottom to top.
        spacing: ``equal`` places each of N layers 1/N above the one below, the lowest at 1/N; ``index`` uses the layer
            index as the height, so that a background of 0 is flat on the base.

    Returns:
        (H, W), 0…1; 0 without a layer.

    Raises:
        ValueError: A label is out of range, or a layer index is not in 0…1.
    """
    number = len(layer_indices)
    indices = np.asarray(layer_indices, dtype=np.float32)
    if labels.size and not (labels.min() >= -1 and labels.max() < number):
        raise ValueError(f"labels {labels.min()} … {labels.max()} do not match {number} layers")
    if not ((indices >= 0) & (indices <= 1)).all():
        raise ValueError(f"layer indices must be in 0 … 1, not {list(layer_indices)}")
    steps = np.arange(1, number + 1, dtype=np.float32) / max(number, 1) if spacing == "equal" else indices
    return np.asarray(np.append(steps, np.float32(0))[labels])  # label −1 is the last entry, 0


def relief_mesh(
    heights: NDArray[np.float32],
    image: NDArray[np.uint8] | None = None,
    *,
    width_mm: float = 100,
    relief_mm: float = HEIGHT_MM,
    base_mm: float = BASE_MM,
    max_side: int = 512,
) -> trimesh.Trimesh:
    """Build a watertight solid from a height map, with a flat bottom and vertical sides.

    The top has a vertex at the centre of every pixel and along the rim: layers are flat, and the walls between them are
    one pixel wide. Exact steps would meet in a line where pixels touch at a corner; this way the solid is a manifold
    for every map.

    Args:
        heights: (H, W), 0…1, such as those of `layer_heights`.
        image: (H, W, 3) or (H, W, 4), of any size; the texture, on white where it is transparent.
        width_mm: Width of the solid in millimetres; its depth follows from the aspect ratio of the map.
        relief_mm: Height above the base of a map value of 1, in millimetres.
        base_mm: Thickness at a map value of 0 in millimetres, above 0.
        max_side: Largest side of the map in pixels. Larger maps are reduced; each pixel gets the most common height
            of its area, so that heights remain those of layers.

    Returns:
        Solid in millimetres, from (0, 0, 0): x to the right and y up as in the image, z towards the viewer.

    Raises:
        ValueError: Heights are not (H, W) in 0…1, or a size is out of range.
    """
    if heights.ndim != 2 or not heights.size:
        raise ValueError(f"heights must be (H, W), not {heights.shape}")
    if not ((heights >= 0) & (heights <= 1)).all():
        raise ValueError("heights must be in 0 … 1")
    if min(width_mm, base_mm, max_side) <= 0 or relief_mm < 0:
        raise ValueError("width_mm, base_mm and max_side must be positive, relief_mm at least 0")
    depth_mm = width_mm * heights.shape[0] / heights.shape[1]
    levels = _reduced(heights, max_side)
    rows, columns = levels.shape
    x = _vertex_positions(columns) / columns
    y = 1 - _vertex_positions(rows) / rows
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
    relief_mm: float = HEIGHT_MM,
    base_mm: float = BASE_MM,
    max_side: int = 512,
) -> None:
    """Write the solid of `relief_mesh` for printers and viewers.

    STL has no unit; printers assume millimetres, and the relief lies on its back with z up. In glTF units are metres,
    y is up and the front of an object is +z, so the relief is upright and faces the viewer with the same axes. The GLB
    has no normals, so that viewers shade every triangle flat, as glTF specifies.

    Args:
        stl_path: Path of the binary STL; missing folders are created.
        glb_path: Path of the GLB with the image as texture; missing folders are created.
        heights: See `relief_mesh`.
        image: See `relief_mesh`; None for no texture.
        width_mm: See `relief_mesh`.
        relief_mm: See `relief_mesh`.
        base_mm: See `relief_mesh`.
        max_side: See `relief_mesh`.

    Raises:
        ValueError: See `relief_mesh`.
    """
    mesh = relief_mesh(heights, image, width_mm=width_mm, relief_mm=relief_mm, base_mm=base_mm, max_side=max_side)
    with atomic_path(stl_path) as temporary:
        temporary.write_bytes(export_stl(mesh))
    mesh.apply_scale(METRES_PER_MILLIMETRE)
    with atomic_path(glb_path) as temporary:
        temporary.write_bytes(export_glb(trimesh.Scene(mesh), include_normals=False))


def _reduced(heights: NDArray[np.float32], max_side: int) -> NDArray[np.float32]:
    """Reduce heights to at most ``max_side`` pixels per side; no new heights appear."""
    longest = max(heights.shape)
    if longest <= max_side:
        return heights
    height, width = (max(1, round(side * max_side / longest)) for side in heights.shape)
    levels, number_of = np.unique(heights, return_inverse=True)
    if len(levels) > _MAX_LEVELS:
        return np.asarray(Image.fromarray(heights.astype(np.float32)).resize((width, height), Image.Resampling.NEAREST))
    number_of = number_of.reshape(heights.shape)
    largest, winner = np.full((height, width), -1.0, dtype=np.float32), np.zeros((height, width), dtype=np.int64)
    for number in range(len(levels)):
        mask = Image.fromarray((number_of == number).astype(np.float32))
        area = np.asarray(mask.resize((width, height), Image.Resampling.BOX))
        larger = area > largest
        largest[larger], winner[larger] = area[larger], number
    return levels[winner].astype(np.float32)


def _vertex_positions(number: int) -> NDArray[np.float64]:
    """Return the vertex positions along ``number`` pixels: both ends and all centres, (number + 2,)."""
    return np.concatenate([[0.0], np.arange(number) + 0.5, [number]])


def _rim(rows: int, columns: int) -> NDArray[np.int64]:
    """Return the numbers of the border vertices of a grid, clockwise in the image from the upper left."""
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
    """Connect the rim of the top to that of the bottom, whose vertices follow, and this to the centre of the bottom."""
    below = top_count + np.arange(len(rim))
    middle = np.full(len(rim), top_count + len(rim))
    next_rim, next_below = np.roll(rim, -1), np.roll(below, -1)
    sides = [np.stack([rim, next_rim, below], axis=1), np.stack([next_rim, next_below, below], axis=1)]
    return np.concatenate([*sides, np.stack([below, next_below, middle], axis=1)])


def _texture(image: NDArray[np.uint8], shares: NDArray[np.float64]) -> trimesh.visual.TextureVisuals:
    """Map the image to vertices at (N, 2) shares of its width and, from its lower edge, of its height."""
    opaque = on_white(image) if image.shape[2] == 4 else image
    texture = Image.fromarray(opaque)
    texture.thumbnail((_MAX_TEXTURE, _MAX_TEXTURE), Image.Resampling.LANCZOS)
    # Half a texel away from the edges, since textures repeat and would blend with the opposite edge.
    half = 0.5 / np.array(texture.size)
    material = PBRMaterial(baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=1.0)
    return trimesh.visual.TextureVisuals(uv=np.clip(shares, half, 1 - half), material=material)
