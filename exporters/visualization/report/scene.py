"""Section of a report on depth and cameras: point clouds that are turned, and depth maps that are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor

from exporters.point_cloud import point_cloud
from exporters.visualization.depth import depth_range
from exporters.visualization.report.page import Section, image_uri, packed

POINTS = 36_000  # of a cloud
MAP_SIDE = 160  # pixels of a depth map
MAX_VIEWS = 6
REACH = 4.0  # radii around the centre; points farther away are left out
_GREATEST = 32_767  # of 16 bits

Cloud = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Scene:
    """Depth and cameras of V views, predicted or true.

    Attributes:
        depth: (V, H, W), along the optical axis; 0 or not finite where there is none.
        extrinsics: (V, 3, 4), world → camera.
        intrinsics: (V, 3, 3), pixels.
        confidence: (V, H, W), or None where all pixels count.
        mask: (V, H, W) bool, pixels in the point cloud; None for all.
    """

    depth: Tensor
    extrinsics: Tensor
    intrinsics: Tensor
    confidence: Tensor | None = None
    mask: Tensor | None = None

    def first_views(self, count: int) -> Scene:
        """Return the first views."""
        depth, extrinsics, intrinsics = (
            part[:count].float().cpu() for part in (self.depth, self.extrinsics, self.intrinsics)
        )
        confidence = None if self.confidence is None else self.confidence[:count].float().cpu()
        mask = None if self.mask is None else self.mask[:count].float().cpu()
        return Scene(depth, extrinsics, intrinsics, confidence, mask)


def scene_section(
    title: str,
    names: Sequence[str],
    images: Tensor,
    predicted: Scene,
    true: Scene | None = None,
    note: str = "",
    points: int = POINTS,
) -> Section:
    """Return a section on a scene, next to its truth where there is one.

    Args:
        title: Heading.
        names: Name of each view.
        images: (V, 3, H, W) in 0…1.
        predicted: Predicted depth and cameras.
        true: True ones, in the same frame and scale.
        note: Sentence on the prediction.
        points: Points of a cloud.
    """
    names, images, predicted = list(names)[:MAX_VIEWS], images[:MAX_VIEWS], predicted.first_views(MAX_VIEWS)
    true = None if true is None else true.first_views(MAX_VIEWS)
    scenes = {"Predicted": predicted} | ({"True": true} if true is not None else {})
    clouds = {name: _cloud(images, scene, points) for name, scene in scenes.items()}
    reference = clouds["True" if true is not None and len(clouds["True"][0]) else "Predicted"][0]
    if not len(reference):
        return Section(title, "<p class='note'>No pixel has a depth.</p>", first=True)
    low, high = np.percentile(reference, (2, 98), axis=0)
    centre = (low + high) / 2
    radius = float(np.linalg.norm(high - low) / 2) or 1.0
    look = np.asarray(predicted.extrinsics[0, :, :3].double())
    shown = [_entry(name, scenes[name], cloud, centre, radius) for name, cloud in clouds.items()]
    views = []
    for view, name in enumerate(names):
        ranges = depth_range((true or predicted).depth[view])
        maps = [_map(f"{kind} depth", scene.depth[view], ranges) for kind, scene in scenes.items()]
        views.append({"name": name, "image": image_uri(_rgb(images[view]), 480), "maps": maps})
    data = {
        "clouds": shown,
        "views": views,
        "centre": _rounded(centre),
        "radius": radius,
        "look": [_rounded(row) for row in look],
        "palette": packed(np.round(colormaps["viridis"](np.arange(256))[:, :3] * 255).astype(np.uint8)),
        "hint": "Depths are in units of the scene, not metres.",
    }
    return Section(title, f"<p class='note'>{escape(note)}</p>" if note else "", "scene", data, first=True)


def _cloud(images: Tensor, scene: Scene, count: int) -> Cloud:
    """Return points, colours, and the end of each view's points."""
    views = len(scene.depth)
    clouds = []
    for view in range(views):
        one = slice(view, view + 1)
        confidence = None if scene.confidence is None else scene.confidence[one]
        values = (
            images[one].float(),
            scene.depth[one].float(),
            confidence,
            scene.extrinsics[one],
            scene.intrinsics[one],
        )
        clouds.append(point_cloud(*values, max_points=count // views))
    points, colours = (np.concatenate(parts) for parts in zip(*clouds, strict=True))
    return points, colours, np.cumsum([len(part) for part, _ in clouds])


def _entry(title: str, scene: Scene, cloud: Cloud, centre: NDArray[np.float64], radius: float) -> dict[str, Any]:
    """Return a cloud and its cameras as plain values; points far outside are left out."""
    points, colours, ends = cloud
    offsets = points - centre
    near = np.abs(offsets).max(1) < REACH * radius
    scale = REACH * radius / _GREATEST
    kept = np.concatenate([[0], np.cumsum(near)])
    extrinsics = np.asarray(scene.extrinsics.double().cpu())
    return {
        "title": title,
        "positions": packed(np.round(offsets[near] / scale).astype(np.int16)),
        "colours": packed(colours[near]),
        "scale": scale,
        "ends": [int(kept[end]) for end in ends],
        "forward": [_rounded(pose[2]) for pose in extrinsics],
        "cameras": [
            [_rounded(corner) for corner in _frustum(pose, matrix, tuple(scene.depth.shape[1:]), 0.18 * radius)]
            for pose, matrix in zip(extrinsics, np.asarray(scene.intrinsics.double().cpu()), strict=True)
        ],
    }


def _frustum(
    pose: NDArray[np.float64], matrix: NDArray[np.float64], size: tuple[int, ...], depth: float
) -> NDArray[np.float64]:
    """Return the centre of a camera and the corners of its image at a depth, (5, 3) in the world."""
    height, width = size
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=np.float64)
    corners = np.concatenate([np.zeros((1, 3)), depth * pixels @ np.linalg.inv(matrix).T])
    return np.asarray((corners - pose[:, 3]) @ pose[:, :3])


def _map(title: str, depth: Tensor, ranges: tuple[float, float]) -> dict[str, Any]:
    """Return a depth map, reduced, as 16 bits between its extremes; 0 where there is no depth."""
    values = np.asarray(depth.double().cpu())
    step = max(1, -(-max(values.shape) // MAP_SIDE))
    values = values[step // 2 :: step, step // 2 :: step]
    valid = np.isfinite(values) & (values > 0)
    least, most = (float(values[valid].min()), float(values[valid].max())) if valid.any() else (0.0, 1.0)
    share = (np.where(valid, values, least) - least) / ((most - least) or 1.0)
    height, width = values.shape
    coded = np.where(valid, np.round(1 + share * 65534), 0).astype(np.uint16)
    size = {"title": title, "width": width, "height": height, "values": packed(coded)}
    return {**size, "least": least, "most": most, "near": ranges[0], "far": ranges[1]}


def _rgb(image: Tensor) -> NDArray[np.uint8]:
    return (image.float().cpu().clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]
