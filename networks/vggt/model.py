"""VGGT: aggregator and heads, and the names of its tensors in published checkpoints.

Source: Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025; DPT: Ranftl et al., ICCV 2021;
DINOv2 with registers: Darcet et al., ICLR 2024. Tensor names are the published ones, except those of the patch network,
which are timm's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn

from networks.checkpoints import PublishedTensor
from networks.vggt.aggregator import NUM_PREFIX, PATCH_SIZE, Aggregator
from networks.vggt.blocks import without_autocast
from networks.vggt.camera_head import CameraHead
from networks.vggt.config import VGGTConfig
from networks.vggt.dpt_head import DPTHead

_VIT = "aggregator.patch_embed."
_HEADS = ("camera_head", "depth_head", "point_head")


class VGGTOutput(TypedDict, total=False):
    """Output of VGGT for B scenes of S frames, float32; the entries of disabled heads are absent.

    Lengths are in units of the scene: training scales scenes so that the mean distance of their points from
    the first camera is 1.

    Attributes:
        pose_enc_list: Per iteration, best last, (B, S, 9): translation (3), quaternion x y z w (4, not of unit
            length) of world→camera in OpenCV axes, vertical and horizontal field of view (2, radians). The
            world is the first frame's camera; the principal point is the image centre.
        depth: (B, S, H, W, 1), along the optical axis, above 0.
        depth_conf: (B, S, H, W), above 1; higher is more confident.
        world_points: (B, S, H, W, 3), in the first frame's camera.
        world_points_conf: (B, S, H, W), above 1.
    """

    pose_enc_list: list[Tensor]
    depth: Tensor
    depth_conf: Tensor
    world_points: Tensor
    world_points_conf: Tensor


class VGGT(nn.Module):
    """Predicts cameras, depth and points of a scene from its images in one pass.

    For fine-tuning parts, parameters group by the prefixes ``aggregator.``, ``camera_head.``, ``depth_head.``
    and ``point_head.``. Only the layers that the heads read are kept in memory; frozen parts save nothing for the
    backward pass, and ``aggregator.store_frozen()`` halves the memory of their weights.

    Autocast applies to the aggregator but not to the heads: they compute in the type of their weights, usually
    float32, as in the published training, since their output goes through an exponential.

    Args:
        config: Sizes and heads; the released VGGT-1B without its point head by default.
        gradient_checkpointing: Recompute each block of the aggregator and each chunk of the dense heads that train
            in the backward pass, to save memory.
        frames_chunk_size: Number of frames that pass through a dense head at a time, to save memory.

    Raises:
        ValueError: The sizes do not fit together, or no head is enabled.

    Example::

        network = VGGT()
        load_published(network, "vggt_1b.pt")
        network.aggregator.requires_grad_(False).store_frozen()
        with torch.autocast("cuda", torch.bfloat16):
            depth = network(images)["depth"]

    The small preset runs on a CPU:

    >>> from networks.vggt.presets import PRESETS
    >>> VGGT(PRESETS["tiny"])(torch.rand(1, 2, 3, 28, 42))["depth"].shape
    torch.Size([1, 2, 28, 42, 1])
    """

    published_computed: ClassVar[tuple[str, ...]] = ()
    published_restartable: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, config: VGGTConfig | None = None, *, gradient_checkpointing: bool = False, frames_chunk_size: int = 8
    ) -> None:
        super().__init__()
        self.config = config = config or VGGTConfig()
        config.check()
        if frames_chunk_size < 1:
            raise ValueError(f"frames_chunk_size must be at least 1, not {frames_chunk_size}")
        width, init_values = 2 * config.embed_dim, config.init_values
        self.aggregator = Aggregator(
            config.vit, config.embed_dim, config.depth, config.num_heads, init_values, gradient_checkpointing
        )

        def dense_head(kind: Literal["depth", "points"]) -> DPTHead:
            return DPTHead(
                width,
                config.dpt_out_channels,
                config.dpt_features,
                kind,
                patch_size=PATCH_SIZE,
                frames_chunk_size=frames_chunk_size,
                gradient_checkpointing=gradient_checkpointing,
            )

        trunk = (config.camera_depth, config.trunk_heads, init_values)
        self.camera_head = CameraHead(width, *trunk) if config.enable_camera else None
        self.depth_head = dense_head("depth") if config.enable_depth else None
        self.point_head = dense_head("points") if config.enable_point else None

    @property
    def layers_read(self) -> tuple[int, ...]:
        """Layers of the aggregator that the heads read; only these are kept in memory."""
        dense = self.config.dpt_layers if self.depth_head is not None or self.point_head is not None else ()
        last = (self.config.depth - 1,) if self.camera_head is not None else ()
        return tuple(sorted({*dense, *last}))

    def forward(self, images: Tensor) -> VGGTOutput:
        """Predict cameras and maps of scenes.

        Args:
            images: (B, S, 3, H, W), float in 0…1, sides multiples of 14. The first frame is the reference.

        Returns:
            Cameras and maps of every frame from the enabled heads.

        Raises:
            ValueError: The images have another shape, are empty, or their sides are not multiples of 14.
        """
        _check(images)
        grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
        kept = self.aggregator(images, self.layers_read)
        output: VGGTOutput = {}  # torch.compile does not trace the call of a TypedDict
        with without_autocast(images):
            if self.camera_head is not None:
                camera_tokens = kept[self.config.depth - 1][:, :, 0].to(self.camera_head.token_norm.weight.dtype)
                output["pose_enc_list"] = [encoding.float() for encoding in self.camera_head(camera_tokens)]
            patches = [kept[index][:, :, NUM_PREFIX:] for index in self.config.dpt_layers if index in kept]
            if self.depth_head is not None:
                output["depth"], output["depth_conf"] = self.depth_head(patches, grid)
            if self.point_head is not None:
                output["world_points"], output["world_points_conf"] = self.point_head(patches, grid)
        return output

    def transformer_blocks(self) -> Iterator[nn.Module]:
        """Blocks of the aggregator and of its patch network."""
        aggregator = self.aggregator
        for blocks in (aggregator.patch_embed.blocks, aggregator.frame_blocks, aggregator.global_blocks):
            yield from blocks

    @property
    def published_dropped(self) -> Mapping[str, str]:
        """Regular expressions of published names that this network does not use → reason."""
        dropped = {
            r"track_head\..*": "tracking is not part of this network",
            r"aggregator\.patch_embed\.mask_token": "patches are masked only in the pre-training of the patch network",
        }
        for head in _HEADS:
            if getattr(self, head) is None:
                dropped[rf"{head}\..*"] = f"the {head.replace('_', ' ')} is not enabled"
        return dropped

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """Map the network's tensors to their published names; the patch network has timm's names here."""
        renamed = {f"{_VIT}reg_token": f"{_VIT}register_tokens"}
        # timm has no position for the class token, so it is added to the token itself. Written back, it is zero.
        folded = {
            f"{_VIT}cls_token": PublishedTensor(
                f"{_VIT}cls_token",
                (f"{_VIT}cls_token", f"{_VIT}pos_embed"),
                read=lambda token, positions: token + positions[:, :1],
                write=lambda token: (token, None),
            ),
            f"{_VIT}pos_embed": PublishedTensor(
                f"{_VIT}pos_embed",
                (f"{_VIT}pos_embed",),
                read=lambda positions: positions[:, 1:],
                write=lambda positions: (torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1),),
            ),
        }
        return [folded.get(name) or PublishedTensor(name, (renamed.get(name, name),)) for name in self.state_dict()]


def _check(images: Tensor) -> None:
    """Check the shape of the images."""
    if images.ndim != 5 or images.shape[2] != 3 or not images.numel():
        raise ValueError(
            f"images must have shape (batch, frames, 3, height, width) without a zero, not {tuple(images.shape)}"
        )
    height, width = images.shape[-2:]
    if height % PATCH_SIZE or width % PATCH_SIZE:
        raise ValueError(
            f"image height {height} and width {width} must be multiples of {PATCH_SIZE}, the patch size; "
            "resize or crop the images, for example to 518"
        )
