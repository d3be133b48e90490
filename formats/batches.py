"""What a batch of each kind of data holds: the contract between datamodules and modules."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from torch import Tensor


class SpectrogramBatch(TypedDict):
    """Spectrograms as 8-bit RGB.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64, as in the folder names.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    images: Tensor
    user_ids: Tensor
    weights: Tensor


class ExtractionBatch(TypedDict):
    """Spectrograms on their way into one shard of latents.

    Attributes:
        images: (B, 3, H, W) uint8.
        user_ids: (B,) int64.
        names: Path of each image relative to the data set; seeds its posterior sample.
        shard: File name of the shard.
        shard_size: Images in the shard.
    """

    images: Tensor
    user_ids: Tensor
    names: list[str]
    shard: str
    shard_size: int


class LatentBatch(TypedDict):
    """Latents as the tokenizer gave them.

    Attributes:
        latents: (B, C, H, W) float32, not normalised.
        latents_flip: The same of the images flipped left to right, where flipping is on.
        classes: (B,) int64, index into the ascending list of users.
        indices: (B,) int64, place in the split; seeds validation noise.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    latents: Tensor
    latents_flip: NotRequired[Tensor]
    classes: Tensor
    indices: Tensor
    weights: Tensor


class SampleRequestBatch(TypedDict):
    """Samples to draw.

    Attributes:
        user_ids: (B,) int64, as in the folder names.
        indices: (B,) int64, number of the sample among its user's, from 0.
    """

    user_ids: Tensor
    indices: Tensor


class PairBatch(TypedDict):
    """Views of a scene with depth and cameras; V views of H × W pixels.

    Cameras follow OpenCV: x right, y down, z forward; pixel (0, 0) has its centre at (0, 0).

    Attributes:
        images: (B, V, 3, H, W) float32 in 0…1.
        depths: (B, V, H, W) float32, metres along the optical axis; 0 = none.
        extrinsics: (B, V, 3, 4) float32, world → camera.
        intrinsics: (B, V, 3, 3) float32, pixels.
        cam_points: (B, V, H, W, 3) float32, each pixel's point in its camera.
        world_points: (B, V, H, W, 3) float32, the same in the world.
        point_masks: (B, V, H, W) bool, where depth is valid.
        seq_name: Name of each sample, such as ``aerial_megadepth_0001_0``.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
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
    """Plain images of a scene, without depth or cameras; V views of H × W pixels.

    Attributes:
        images: (B, V, 3, H, W) float32 in 0…1.
        names: For each sample the names of its V files.
        original_sizes: (B, V, 2) int64, height and width of each file's image.
        windows: (B, V, 4) int64, the part of it that is shown: top, left, height, width in its pixels.
        seq_name: Name of each sample.
    """

    images: Tensor
    names: list[list[str]]
    original_sizes: Tensor
    windows: Tensor
    seq_name: list[str]


class LayerBatch(TypedDict):
    """Illustrations with the layer that painted each pixel, stretched to the network's square of S × S pixels.

    The layer index, background 0 and foremost 1, is ``orders / layer_counts``.

    Attributes:
        images: (B, 3, S, S) uint8, RGB.
        orders: (B, S, S) int32, paint order of the topmost layer: 0 the background, 1 … n from below.
        layer_counts: (B,) int64, n of each image, at least 1; a crop keeps the n of the whole image.
        masks: (B, S, S) bool, where the order is known.
        names: Of each sample, such as ``animals/cat``; "" for a row that only fills up a batch.
        weights: (B,) float32; 0 marks a row that only fills up a batch.
    """

    images: Tensor
    orders: Tensor
    layer_counts: Tensor
    masks: Tensor
    names: list[str]
    weights: Tensor


class IllustrationBatch(TypedDict):
    """A picture to decompose, whose layers nobody knows.

    Attributes:
        image: (H, W, 4) uint8, RGBA, not premultiplied, at the file's size.
        name: Of the picture, distinct among those of a run, fit for a folder's name.
    """

    image: Tensor
    name: str
