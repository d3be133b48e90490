"""VGGT, whole: aggregator and heads, and how its tensors are called in published checkpoints.

Source: Wang et al., "VGGT: Visual Geometry Grounded Transformer", CVPR 2025; DPT: Ranftl et al., ICCV 2021;
DINOv2 with registers: Darcet et al., ICLR 2024. Tensor names are the published ones, but for the patch network,
which is timm's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn

from networks.checkpoints import PublishedTensor
from networks.vggt.aggregator import NUM_PREFIX, PATCH_SIZE, Aggregator
from networks.vggt.blocks import without_autocast
from networks.vggt.camera_head import CameraHead
from networks.vggt.dpt_head import DPTHead

_VIT = "aggregator.patch_embed."
_HEADS = ("camera_head", "depth_head", "point_head")


class VGGTOutput(TypedDict, total=False):
    """What VGGT says of B scenes of S frames; the entries of disabled heads are absent. All float32.

    Lengths are in units of the scene: training scales scenes so that the mean distance of their points from
    the first camera is 1.

    Attributes:
        pose_enc_list: Per iteration, best last, (B, S, 9): translation (3), quaternion x y z w (4, not of unit
            length) of world→camera in OpenCV axes, vertical and horizontal field of view (2, radians). The
            world is the first frame's camera; the principal point is the image centre.
        depth: (B, S, H, W, 1), along the optical axis, above 0.
        depth_conf: (B, S, H, W), above 1; the greater the surer.
        world_points: (B, S, H, W, 3), in the first frame's camera.
        world_points_conf: (B, S, H, W), above 1.
    """

    pose_enc_list: list[Tensor]
    depth: Tensor
    depth_conf: Tensor
    world_points: Tensor
    world_points_conf: Tensor


class VGGT(nn.Module):
    """Cameras, depth and points of a scene from its images, in one pass.

    For fine-tuning parts, parameters group by the prefixes ``aggregator.``, ``camera_head.``, ``depth_head.``
    and ``point_head.``. Memory: only the layers that the heads read are kept; what is frozen leaves nothing
    behind for the backward pass, and ``aggregator.store_frozen()`` halves its weights.

    Under autocast the aggregator follows it and the heads do not: they compute in the type of their weights,
    float32 as a rule, as in the published training (an exponential stands at their end).

    Args:
        vit: Patch network, DINOv2 with registers: ``dinov2_vits14_reg``, ``dinov2_vitb14_reg``,
            ``dinov2_vitl14_reg``, or ``tiny`` (not published).
        embed_dim: Width of a token: that of the patch network.
        depth: Layers of frame and global attention.
        num_heads: Attention heads in them.
        dpt_layers: The four layers that the dense heads read, counted from 0, rising.
        dpt_out_channels: Channels of the dense heads' four levels.
        dpt_features: Channels of the dense heads' refinement.
        enable_camera: Have a camera head.
        enable_depth: Have a depth head.
        enable_point: Have a point head.
        camera_depth: Blocks of the camera head's trunk.
        camera_num_heads: Attention heads in them; None takes ``num_heads``.
        init_values: Start of the LayerScale of all blocks but the patch network's; small ones suit long
            training and published weights.
        gradient_checkpointing: Recompute each block of the aggregator and each chunk of the dense heads in the
            backward pass where they train, for memory.
        frames_chunk_size: Frames that go through a dense head at a time, for memory.

    Raises:
        ValueError: Sizes that do not fit together, or no head at all.

    Example::

        network = VGGT()
        load_published(network, "vggt_1b.pt")
        network.aggregator.requires_grad_(False).store_frozen()
        with torch.autocast("cuda", torch.bfloat16):
            depth = network(images)["depth"]
    """

    published_computed: ClassVar[tuple[str, ...]] = ()
    published_restartable: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        vit: str = "dinov2_vitl14_reg",
        embed_dim: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        dpt_layers: Sequence[int] = (4, 11, 17, 23),
        dpt_out_channels: Sequence[int] = (256, 512, 1024, 1024),
        dpt_features: int = 256,
        enable_camera: bool = True,
        enable_depth: bool = True,
        enable_point: bool = False,
        camera_depth: int = 4,
        camera_num_heads: int | None = None,
        init_values: float = 0.01,
        gradient_checkpointing: bool = False,
        frames_chunk_size: int = 8,
    ) -> None:
        super().__init__()
        camera_num_heads = num_heads if camera_num_heads is None else camera_num_heads
        if len(dpt_layers) != 4 or list(dpt_layers) != sorted(set(dpt_layers) & set(range(depth))):
            raise ValueError(f"dpt_layers {tuple(dpt_layers)} are not four rising layers out of 0…{depth - 1}")
        if len(dpt_out_channels) != 4 or any(c % 4 for c in dpt_out_channels) or dpt_features % 8:
            raise ValueError(
                f"dpt_out_channels {tuple(dpt_out_channels)} must be four multiples of 4, and dpt_features "
                f"{dpt_features} a multiple of 8"
            )
        if 2 * embed_dim % camera_num_heads:
            raise ValueError(f"camera_num_heads {camera_num_heads} does not divide 2 · embed_dim = {2 * embed_dim}")
        if frames_chunk_size < 1:
            raise ValueError(f"frames_chunk_size {frames_chunk_size} is below 1")
        if not (enable_camera or enable_depth or enable_point):
            raise ValueError("a VGGT without a head gives nothing: enable the camera, depth or point head")
        self.depth, self.dpt_layers = depth, tuple(dpt_layers)

        self.aggregator = Aggregator(vit, embed_dim, depth, num_heads, init_values, gradient_checkpointing)

        def dense_head(kind: Literal["depth", "points"]) -> DPTHead:
            return DPTHead(
                2 * embed_dim,
                dpt_out_channels,
                dpt_features,
                kind,
                patch_size=PATCH_SIZE,
                frames_chunk_size=frames_chunk_size,
                gradient_checkpointing=gradient_checkpointing,
            )

        self.camera_head = (
            CameraHead(2 * embed_dim, camera_depth, camera_num_heads, init_values) if enable_camera else None
        )
        self.depth_head = dense_head("depth") if enable_depth else None
        self.point_head = dense_head("points") if enable_point else None

    @property
    def layers_read(self) -> tuple[int, ...]:
        """The layers of the aggregator that the heads read, and so the only ones that are kept."""
        dense = self.dpt_layers if self.depth_head is not None or self.point_head is not None else ()
        last = (self.depth - 1,) if self.camera_head is not None else ()
        return tuple(sorted({*dense, *last}))

    def forward(self, images: Tensor) -> VGGTOutput:
        """Look at scenes.

        Args:
            images: (B, S, 3, H, W), float in 0…1, sides multiples of 14. The first frame is the reference.

        Returns:
            Cameras and maps of every frame, from the heads that are enabled.

        Raises:
            ValueError: Images of another rank or number of channels, no images, or sides that are no multiples of 14.
        """
        _check(images)
        grid = (images.shape[-2] // PATCH_SIZE, images.shape[-1] // PATCH_SIZE)
        kept = self.aggregator(images, self.layers_read)
        output = VGGTOutput()
        with without_autocast(images):
            if self.camera_head is not None:
                camera_tokens = kept[self.depth - 1][:, :, 0].to(self.camera_head.token_norm.weight.dtype)
                output["pose_enc_list"] = [encoding.float() for encoding in self.camera_head(camera_tokens)]
            patches = [kept[index][:, :, NUM_PREFIX:] for index in self.dpt_layers if index in kept]
            if self.depth_head is not None:
                output["depth"], output["depth_conf"] = self.depth_head(patches, grid)
            if self.point_head is not None:
                output["world_points"], output["world_points_conf"] = self.point_head(patches, grid)
        return output

    @property
    def published_dropped(self) -> Mapping[str, str]:
        """Published names that this network has no use for → why."""
        dropped = {
            r"track_head\..*": "tracking is no part of this network",
            r"aggregator\.patch_embed\.mask_token": "only the patch network's own pre-training masks patches",
        }
        for head in _HEADS:
            if getattr(self, head) is None:
                dropped[rf"{head}\..*"] = f"the {head.replace('_', ' ')} is not enabled"
        return dropped

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """The network's tensors; those of the patch network are called as in timm here."""
        renamed = {f"{_VIT}reg_token": f"{_VIT}register_tokens"}
        # timm has no position for the class token: it is part of the token itself. Written back, it is zero.
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
    """Refuse images that the network would misread."""
    if images.ndim != 5 or images.shape[2] != 3 or not images.numel():
        raise ValueError(
            f"images have shape {tuple(images.shape)}; VGGT takes (batch, frames, 3, height, width), none 0"
        )
    height, width = images.shape[-2:]
    if height % PATCH_SIZE or width % PATCH_SIZE:
        raise ValueError(
            f"images of {height}×{width} pixels (height×width) are no whole number of {PATCH_SIZE}-pixel patches; "
            f"resize or crop their sides to multiples of {PATCH_SIZE}, such as 518"
        )
