"""Aggregator of VGGT: image patches as tokens, with attention within each frame and across all frames in turn."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from networks.vggt.blocks import Block, needs_graph
from networks.vggt.positions import TableCache, rotary_tables

PATCH_SIZE = 14
NUM_REGISTERS = 4
NUM_PREFIX = 1 + NUM_REGISTERS  # camera token, register tokens; patches follow
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VitSize(NamedTuple):
    """Width (channels), depth (blocks) and attention heads of a patch network."""

    embed_dim: int
    depth: int
    num_heads: int


VITS: dict[str, VitSize] = {
    "tiny": VitSize(192, 4, 3),  # not published: for tests and CPUs
    "shallow": VitSize(128, 2, 4),  # not published: for training from random weights on a CPU
    "dinov2_vits14_reg": VitSize(384, 12, 6),
    "dinov2_vitb14_reg": VitSize(768, 12, 12),
    "dinov2_vitl14_reg": VitSize(1024, 24, 16),
}


def _vit(name: str) -> VisionTransformer:
    """Build DINOv2 with registers from timm: its ``vit_*_patch14_reg4_dinov2`` with other start values."""
    size = VITS[name]
    return VisionTransformer(
        img_size=518,  # image side of the position table, which is interpolated for other sizes
        patch_size=PATCH_SIZE,
        num_classes=0,
        global_pool="",
        embed_dim=size.embed_dim,
        depth=size.depth,
        num_heads=size.num_heads,
        init_values=1.0,
        no_embed_class=True,
        reg_tokens=NUM_REGISTERS,
        dynamic_img_size=True,
    )


class Aggregator(nn.Module):
    """Encodes all frames by alternating attention and returns the tokens after chosen layers.

    A layer is a frame block, over the tokens of one frame, followed by a global block, over those of all frames.
    Parts with frozen weights whose input needs no gradient save nothing for the backward pass, whether all blocks
    are frozen or only the first few.

    Args:
        vit: Patch network, a key of ``VITS``.
        embed_dim: Width of a token; must be that of the patch network.
        depth: Number of layers.
        num_heads: Number of attention heads in each block.
        init_values: Start value of the blocks' LayerScale.
        gradient_checkpointing: Recompute each block in the backward pass, to save memory.

    Raises:
        ValueError: The patch network is unknown, or the sizes do not fit together.
    """

    def __init__(
        self,
        vit: str,
        embed_dim: int,
        depth: int,
        num_heads: int,
        init_values: float,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        if vit not in VITS:
            raise ValueError(f"unknown patch network {vit!r}; choose from {', '.join(VITS)}")
        if embed_dim != VITS[vit].embed_dim:
            raise ValueError(f"embed_dim must be {VITS[vit].embed_dim}, the width of {vit}, not {embed_dim}")
        if num_heads < 1 or embed_dim % num_heads or embed_dim // num_heads % 4:
            raise ValueError(f"embed_dim {embed_dim} divided by num_heads {num_heads} must be a multiple of 4")
        self.head_dim = embed_dim // num_heads
        self.gradient_checkpointing = gradient_checkpointing
        self.patch_embed = _vit(vit)
        self.frame_blocks = nn.ModuleList(Block(embed_dim, num_heads, True, init_values) for _ in range(depth))
        self.global_blocks = nn.ModuleList(Block(embed_dim, num_heads, True, init_values) for _ in range(depth))
        # Entry 0 is for the first frame, whose camera is the reference, entry 1 for every other.
        self.camera_token = nn.Parameter(1e-6 * torch.randn(1, 2, 1, embed_dim))
        self.register_token = nn.Parameter(1e-6 * torch.randn(1, 2, NUM_REGISTERS, embed_dim))
        self.stored_dtype: torch.dtype | None = None
        self._tables = TableCache()

    def store_frozen(self, dtype: torch.dtype = torch.bfloat16) -> None:
        """Store the frozen matrices in ``dtype``, which halves their memory.

        These are the weights and biases that autocast converts to ``dtype`` at each use, so under
        ``torch.autocast(device, dtype)`` results stay bit-identical. Norms, scales and tokens keep their type.
        From then on the aggregator runs under autocast even if the caller does not. ``state_dict()`` holds the
        matrices in ``dtype``.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and not any(p.requires_grad for p in module.parameters()):
                module.to(dtype)
                self.stored_dtype = dtype

    def forward(self, images: Tensor, layers: Collection[int]) -> dict[int, Tensor]:
        """Encode the frames of each scene.

        Args:
            images: (B, S, 3, H, W) in 0…1, sides multiples of 14.
            layers: Indices of the layers to return; layers after the last of them are not run.

        Returns:
            Layer index → its tokens (B, S, 5 + H/14 · W/14, 2 · embed_dim): the outputs of the frame block and of the
            global block, concatenated; the camera token first, then 4 registers, then the patches row by row.
        """
        device = images.device.type
        if self.stored_dtype is not None and not torch.is_autocast_enabled(device):
            with torch.autocast(device, self.stored_dtype):
                return self._aggregated(images, layers)
        return self._aggregated(images, layers)

    def _aggregated(self, images: Tensor, layers: Collection[int]) -> dict[int, Tensor]:
        batch, frames, _, height, width = images.shape
        grid = (height // PATCH_SIZE, width // PATCH_SIZE)
        x = self._patches(images.flatten(0, 1))
        prefix = [_per_frame(token, batch, frames) for token in (self.camera_token, self.register_token)]
        x = torch.cat([*prefix, x], dim=1)
        frame_rotary, scene_rotary = (self._rotary(grid, count, x.device) for count in (1, frames))
        kept = {}
        for index in range(max(layers) + 1):
            in_frames = self._run(self.frame_blocks[index], x, frame_rotary)
            scene = in_frames.unflatten(0, (batch, frames)).flatten(1, 2)
            x = self._run(self.global_blocks[index], scene, scene_rotary).unflatten(1, (frames, -1)).flatten(0, 1)
            if index in layers:
                kept[index] = torch.cat([in_frames, x], dim=-1).unflatten(0, (batch, frames))
        return kept

    def _patches(self, frames: Tensor) -> Tensor:
        """Images (N, 3, H, W) in 0…1 → normed patch tokens (N, H/14 · W/14, embed_dim) of the patch network."""
        mean, std = self._tables.get(
            ("imagenet", frames.device),
            lambda: tuple(torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)),
        )
        vit = self.patch_embed
        x = vit.patch_embed(((frames - mean) / std).to(self.camera_token.dtype))
        # Not timm's forward, which would recompute frozen blocks in the backward pass too.
        x = self._with_positions(x)
        for block in vit.blocks:
            x = self._run(block, x)
        tokens: Tensor = vit.norm(x)[:, vit.num_prefix_tokens :]
        return tokens

    def _with_positions(self, patches: Tensor) -> Tensor:
        """Patches (N, rows, columns, C) → class token, registers, patches with positions (N, 5 + rows · columns, C)."""
        vit, (rows, columns) = self.patch_embed, patches.shape[1:3]
        # An identity where the size is that of the table; bicubic and antialiased otherwise.
        positions = resample_abs_pos_embed(
            vit.pos_embed, (rows, columns), old_size=vit.patch_embed.grid_size, num_prefix_tokens=0
        )
        assert vit.cls_token is not None
        assert vit.reg_token is not None
        prefix = [token.expand(len(patches), -1, -1) for token in (vit.cls_token, vit.reg_token)]
        return torch.cat([*prefix, patches.flatten(1, 2) + positions], dim=1)

    def _rotary(self, grid: tuple[int, int], frames: int, device: torch.device) -> tuple[Tensor, ...]:
        return self._tables.get(
            (grid, frames, device), lambda: rotary_tables(self.head_dim, grid, NUM_PREFIX, frames, device)
        )

    def _run(self, block: nn.Module, x: Tensor, *arguments: object) -> Tensor:
        if self.gradient_checkpointing and needs_graph(block, x):
            result: Tensor = checkpoint(block, x, *arguments, use_reentrant=False, preserve_rng_state=False)
        else:
            result = block(x, *arguments)
        return result


def _per_frame(token: Tensor, batch: int, frames: int) -> Tensor:
    """(1, 2, n, C) → (batch · frames, n, C): the first entry for first frames, the second for the others."""
    first, other = token[:, :1].expand(batch, -1, -1, -1), token[:, 1:].expand(batch, frames - 1, -1, -1)
    return torch.cat([first, other], dim=1).flatten(0, 1)
