"""Batches of the pair depth and camera task."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class PairBatch(TypedDict):
    """Views of a scene with depth and cameras; V views of H × W pixels.

    Cameras follow OpenCV: x right, y down, z forward; pixel (0, 0) has its centre at (0, 0).

    Attributes:
        images: (B, V, 3, H, W) float32 in 0…1.
        depths: (B, V, H, W) float32, metres along the optical axis; 0 is invalid.
        extrinsics: (B, V, 3, 4) float32, world → camera.
        intrinsics: (B, V, 3, 3) float32, pixels.
        cam_points: (B, V, H, W, 3) float32, each pixel's point in camera coordinates.
        world_points: (B, V, H, W, 3) float32, the same in world coordinates.
        point_masks: (B, V, H, W) bool, where depth is valid.
        seq_name: Name of each sample, such as ``aerial_megadepth_0001_0``.
        weights: (B,) float32; 0 marks a row that only pads a batch.
    """

    images: Tensor
    depths: Tensor
    extrinsics: Tensor
    intrinsics: Tensor
    cam_points: Tensor
    world_points: Tensor
    point_masks: Tensor
    seq_name: list[str]
    weights: Tensor


class ImageViewsBatch(TypedDict):
    """Images of a scene without depth or cameras; V views of H × W pixels.

    Attributes:
        images: (B, V, 3, H, W) float32 in 0…1.
        names: File names of the V views of each sample.
        original_sizes: (B, V, 2) int64, height and width of each file's image.
        windows: (B, V, 4) int64, crop of each file's image: top, left, height, width in its pixels.
        seq_name: Name of each sample.
    """

    images: Tensor
    names: list[list[str]]
    original_sizes: Tensor
    windows: Tensor
    seq_name: list[str]
