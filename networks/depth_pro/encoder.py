"""Encoder of Depth Pro: overlapping windows of an image pyramid through one ViT, the whole image through another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple, cast

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

PATCH_SIZE = 16  # pixels per side of a token


class PyramidLevel(NamedTuple):
    """How one level of the image pyramid is cut into windows, which overlap so as to cover it evenly.

    Attributes:
        reduction: The image's side over the level's.
        windows: Windows per side.
    """

    reduction: int
    windows: int

    def starts(self, tokens: int) -> list[int]:
        """First token of each window of ``tokens`` tokens per side; of 24, every 18th and every 12th, as published.

        Where an even spacing would begin inside a token, the nearest is taken.
        """
        room = (4 // self.reduction - 1) * tokens
        return [round(number * room / max(1, self.windows - 1)) for number in range(self.windows)]

    def shares(self, tokens: int) -> list[slice]:
        """What of each window is kept in merging: overlaps are cut in their middle."""
        starts = self.starts(tokens)
        middles = [(end + tokens + start) // 2 for end, start in pairwise(starts)]
        bounds = [0, *middles, starts[-1] + tokens]
        return [slice(low - start, high - start) for start, (low, high) in zip(starts, pairwise(bounds), strict=True)]


FULL, HALF, QUARTER = PyramidLevel(1, 5), PyramidLevel(2, 3), PyramidLevel(4, 1)
PYRAMID = (FULL, HALF, QUARTER)
WINDOWS = sum(level.windows**2 for level in PYRAMID)


def _vit(
    name: str, embed_dim: int, depth: int, num_heads: int, window: int, init_values: float | None
) -> VisionTransformer:
    """Build a ViT of timm by its name, with other sizes and its position table for one window."""
    if not timm.models.is_model_in_modules(name, ["vision_transformer"]):
        raise ValueError(f"timm has no ViT {name!r}; Depth Pro's is vit_large_patch14_dinov2")
    sizes: dict[str, Any] = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads}
    if init_values is not None:
        sizes["init_values"] = init_values
    vit = timm.create_model(name, img_size=window, patch_size=PATCH_SIZE, num_classes=0, global_pool="", **sizes)
    return cast(VisionTransformer, vit)


def _upsampling(in_channels: int, channels: int, out_channels: int, doublings: int) -> nn.Sequential:
    """A 1×1 convolution to ``channels``, and transposed ones to ``out_channels`` that double the sides each."""
    widths = [channels] + doublings * [out_channels]
    doubling = [nn.ConvTranspose2d(a, b, 2, stride=2, bias=False) for a, b in pairwise(widths)]
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), *doubling)


class Encoder(nn.Module):
    """Five levels of features of an image, the finest first.

    Args:
        vit: Name of a ViT in timm; both ViTs are built from it.
        embed_dim: Its width.
        depth: Its blocks.
        num_heads: Its attention heads.
        hook_blocks: The blocks, counted from 0, whose output over the full-resolution windows makes the finest
            level and the second finest.
        level_dims: Channels between token and level, from the hooks' to the coarsest.
        features: Channels of the finest level.
        window: Side of a window in pixels.
        init_values: Start of the ViTs' LayerScale, None for the ViT's own.
        gradient_checkpointing: Recompute each block in the backward pass, for memory.
        window_chunk_size: Windows that go through the patch encoder at a time, for memory; None for all.
    """

    def __init__(
        self,
        vit: str,
        embed_dim: int,
        depth: int,
        num_heads: int,
        hook_blocks: tuple[int, int],
        level_dims: tuple[int, int, int, int],
        features: int,
        window: int,
        init_values: float | None,
        gradient_checkpointing: bool,
        window_chunk_size: int | None,
    ) -> None:
        super().__init__()
        self.hook_blocks, self.tokens = hook_blocks, window // PATCH_SIZE
        self.gradient_checkpointing, self.window_chunk_size = gradient_checkpointing, window_chunk_size
        self.patch_encoder = _vit(vit, embed_dim, depth, num_heads, window, init_values)
        self.image_encoder = _vit(vit, embed_dim, depth, num_heads, window, init_values)
        hooks, full, half, low = level_dims
        self.upsample_latent0 = _upsampling(embed_dim, hooks, features, 3)
        self.upsample_latent1 = _upsampling(embed_dim, hooks, hooks, 2)
        self.upsample0 = _upsampling(embed_dim, full, full, 1)
        self.upsample1 = _upsampling(embed_dim, half, half, 1)
        self.upsample2 = _upsampling(embed_dim, low, low, 1)
        self.upsample_lowres = nn.ConvTranspose2d(embed_dim, low, 2, stride=2)
        self.fuse_lowres = nn.Conv2d(2 * low, low, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Encode images (B, 3, 4·window, 4·window).

        Returns:
            Five levels with a side of 2, 1, 1/2, 1/4 and 1/8 windows, the finest first: 768, 384, 192, 96 and 48
            for images of 1536. All are channels-last in memory, as tokens are.
        """
        in_full = FULL.windows**2 * len(image)
        image = image.contiguous(memory_format=torch.channels_last)
        pyramid = [_reduced(image, level.reduction) for level in PYRAMID]
        grids = [_embedded(self.patch_encoder, picture) for picture in pyramid]
        cut = [_windows(grid, level, self.tokens) for grid, level in zip(grids, PYRAMID, strict=True)]
        windows = torch.cat(list(chain(*cut))).flatten(1, 2)  # window-major
        last, shallow, deep = self._in_chunks(windows, in_full)
        full, half, quarter = last.split([level.windows**2 * len(image) for level in PYRAMID])
        whole, *_ = self._through(self.image_encoder, _embedded(self.image_encoder, pyramid[-1]).flatten(1, 2), 0)

        low = [self.upsample2(_merged(quarter, QUARTER)), self.upsample_lowres(_merged(whole, QUARTER))]
        return [
            self.upsample_latent0(_merged(shallow, FULL)),
            self.upsample_latent1(_merged(deep, FULL)),
            self.upsample0(_merged(full, FULL)),
            self.upsample1(_merged(half, HALF)),
            self.fuse_lowres(torch.cat(low, dim=1)),
        ]

    def _in_chunks(self, windows: Tensor, hooked: int) -> tuple[Tensor, Tensor, Tensor]:
        """Windows (N, T, C) → the patch encoder's output for all, and the hooked blocks' for the first ``hooked``."""
        size = self.window_chunk_size or len(windows)
        if size >= len(windows):
            return self._through(self.patch_encoder, windows, hooked)
        outputs = [
            self._through(self.patch_encoder, chunk, max(hooked - index * size, 0))
            for index, chunk in enumerate(windows.split(size))
        ]
        last, shallow, deep = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return last, shallow, deep

    def _through(self, vit: VisionTransformer, x: Tensor, hooked: int) -> tuple[Tensor, Tensor, Tensor]:
        """Run embedded patches (N, T, C) through a ViT.

        Returns:
            Its normed output, and the output of the two hooked blocks, before the norm, for the first ``hooked`` of
            N; all (N or hooked, T, C), without the class token.
        """
        taps = []
        x = vit.norm_pre(vit._pos_embed(x))
        for index, block in enumerate(vit.blocks):
            if self.gradient_checkpointing:
                x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x)
            if index in self.hook_blocks:
                taps.append(x[:hooked, vit.num_prefix_tokens :])
        shallow, deep = taps
        return vit.norm(x)[:, vit.num_prefix_tokens :], shallow, deep


def _reduced(image: Tensor, reduction: int) -> Tensor:
    """An image (B, 3, H, W) with sides divided by ``reduction``, bilinear and without a prefilter, as published."""
    if reduction == 1:
        return image
    size = (image.shape[-2] // reduction, image.shape[-1] // reduction)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def _embedded(vit: VisionTransformer, picture: Tensor) -> Tensor:
    """A picture (B, 3, H, W) → its embedded patches (B, H/16, W/16, C).

    Windows begin at whole patches, so a patch is embedded once and not in every window that has it.
    """
    return vit.patch_embed.proj(picture).permute(0, 2, 3, 1)


def _windows(grid: Tensor, level: PyramidLevel, tokens: int) -> list[Tensor]:
    """Patches (B, H, W, C) → windows (B, tokens, tokens, C), row by row."""
    starts = level.starts(tokens)
    return [grid[:, top : top + tokens, left : left + tokens] for top in starts for left in starts]


def _merged(windows: Tensor, level: PyramidLevel) -> Tensor:
    """Windows (windows² · B, tokens², C) → the features (B, C, H, W) that they show, channels-last in memory."""
    tokens = math.isqrt(windows.shape[1])
    x = windows.unflatten(1, (tokens, tokens)).unflatten(0, (level.windows, level.windows, -1))
    rows = _joined(x.unbind(0), level.shares(tokens))  # of windows: (windows, B, H, tokens, C)
    return _joined(rows.unbind(0), level.shares(tokens)).permute(0, 3, 1, 2)


def _joined(parts: Sequence[Tensor], shares: Sequence[slice]) -> Tensor:
    """Concatenate overlapping parts along dimension 2, of each part its share."""
    return torch.cat([part[:, :, share] for part, share in zip(parts, shares, strict=True)], dim=2)
