"""Encoder of Depth Pro: one ViT for overlapping windows of an image pyramid, another for the whole image."""

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

from networks.depth_pro.config import PATCH_SIZE, DepthProConfig


class PyramidLevel(NamedTuple):
    """Division of one level of the image pyramid into evenly spaced, overlapping windows.

    Attributes:
        reduction: Side of the image divided by the side of the level.
        windows: Number of windows per side.
    """

    reduction: int
    windows: int

    def starts(self, tokens: int) -> list[int]:
        """First token of each window of ``tokens`` tokens per side, rounded to whole tokens.

        With 24 tokens the strides are 18 and 12, as published.
        """
        span = (4 // self.reduction - 1) * tokens
        return [round(number * span / max(1, self.windows - 1)) for number in range(self.windows)]

    def shares(self, tokens: int) -> list[slice]:
        """Part of each window that is kept in merging; overlaps are split in the middle."""
        starts = self.starts(tokens)
        middles = [(end + tokens + start) // 2 for end, start in pairwise(starts)]
        bounds = [0, *middles, starts[-1] + tokens]
        return [slice(low - start, high - start) for start, (low, high) in zip(starts, pairwise(bounds), strict=True)]


FULL, HALF, QUARTER = PyramidLevel(1, 5), PyramidLevel(2, 3), PyramidLevel(4, 1)
PYRAMID = (FULL, HALF, QUARTER)
WINDOWS = sum(level.windows**2 for level in PYRAMID)


def _vit(config: DepthProConfig) -> VisionTransformer:
    """Build timm's ViT of that name with other sizes, and a position table for one window."""
    if not timm.models.is_model_in_modules(config.vit, ["vision_transformer"]):
        raise ValueError(f"timm has no ViT {config.vit!r}; Depth Pro uses vit_large_patch14_dinov2")
    sizes: dict[str, Any] = {"img_size": config.window, "patch_size": PATCH_SIZE}
    sizes |= {"embed_dim": config.embed_dim, "depth": config.depth, "num_heads": config.num_heads}
    if config.init_values is not None:
        sizes["init_values"] = config.init_values
    vit = timm.create_model(config.vit, num_classes=0, global_pool="", **sizes)
    return cast(VisionTransformer, vit)


def _upsampling(in_channels: int, channels: int, out_channels: int, doublings: int) -> nn.Sequential:
    """Build a 1×1 convolution to ``channels``, then transposed convolutions that each double the sides."""
    widths = [channels] + doublings * [out_channels]
    doubling = [nn.ConvTranspose2d(a, b, 2, stride=2, bias=False) for a, b in pairwise(widths)]
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), *doubling)


class Encoder(nn.Module):
    """Compute five levels of features of an image, the finest first.

    Args:
        config: Sizes.
        gradient_checkpointing: Recompute blocks in the backward pass, to save memory.
        window_chunk_size: Number of windows that pass through the patch encoder at a time; None for all.
    """

    def __init__(self, config: DepthProConfig, gradient_checkpointing: bool, window_chunk_size: int | None) -> None:
        super().__init__()
        self.hook_blocks, self.tokens = tuple(config.hook_blocks), config.window // PATCH_SIZE
        self.gradient_checkpointing, self.window_chunk_size = gradient_checkpointing, window_chunk_size
        self.patch_encoder = _vit(config)
        self.image_encoder = _vit(config)
        embed_dim, features = config.embed_dim, config.decoder_features
        hooks, full, half, low = config.encoder_dims
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
        grids = [_embedded(self.patch_encoder, level) for level in pyramid]
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
        """Run windows (N, T, C) through the patch encoder in chunks; see :meth:`_through`."""
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
            The normalised output (N, T, C), and the output of the two hooked blocks, before the norm, for the first
            ``hooked`` windows (hooked, T, C); all without the class token.
        """
        taps = []
        x = vit.norm_pre(_with_positions(vit, x))
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
    """Downsample (B, 3, H, W) by ``reduction``, bilinear and without antialiasing, as published."""
    if reduction == 1:
        return image
    size = (image.shape[-2] // reduction, image.shape[-1] // reduction)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def _embedded(vit: VisionTransformer, image: Tensor) -> Tensor:
    """Embed the patches of an image (B, 3, H, W) → (B, H/16, W/16, C).

    Windows start at whole patches, so each patch is embedded once for all windows that contain it.
    """
    patches: Tensor = vit.patch_embed.proj(image)
    return patches.permute(0, 2, 3, 1)


def _with_positions(vit: VisionTransformer, patches: Tensor) -> Tensor:
    """Prepend the class token, and registers if there are any, and add position embeddings, as timm does."""
    tokens = [token.expand(len(patches), -1, -1) for token in (vit.cls_token, vit.reg_token) if token is not None]
    positions = vit.get_parameter("pos_embed")
    if vit.no_embed_class:
        return torch.cat([*tokens, patches + positions], dim=1)
    return torch.cat([*tokens, patches], dim=1) + positions


def _windows(grid: Tensor, level: PyramidLevel, tokens: int) -> list[Tensor]:
    """Cut patches (B, H, W, C) into windows (B, tokens, tokens, C), row by row."""
    starts = level.starts(tokens)
    return [grid[:, top : top + tokens, left : left + tokens] for top in starts for left in starts]


def _merged(windows: Tensor, level: PyramidLevel) -> Tensor:
    """Merge windows (windows² · B, tokens², C) into features (B, C, H, W), channels-last in memory."""
    tokens = math.isqrt(windows.shape[1])
    x = windows.unflatten(1, (tokens, tokens)).unflatten(0, (level.windows, level.windows, -1))
    rows = _joined(x.unbind(0), level.shares(tokens))  # of windows: (windows, B, H, tokens, C)
    return _joined(rows.unbind(0), level.shares(tokens)).permute(0, 3, 1, 2)


def _joined(parts: Sequence[Tensor], shares: Sequence[slice]) -> Tensor:
    """Concatenate the shares of overlapping parts along dimension 2."""
    return torch.cat([part[:, :, share] for part, share in zip(parts, shares, strict=True)], dim=2)
