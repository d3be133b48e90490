"""Dense head of VGGT (DPT): predicts a map of values and its confidence from four layers of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from networks.vggt.blocks import needs_graph
from networks.vggt.positions import TableCache, pixel_vectors

POSITION_WEIGHT = 0.1


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions around the rectified input.

    The skip connection adds relu(x), not x: the published activation works in place and so changes the skip too,
    and the released weights were trained that way.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, features, h, w) → (N, features, h, w)."""
        x = F.relu(x)
        result: Tensor = self.conv2(F.relu(self.conv1(x))) + x
        return result


class Refinement(nn.Module):
    """Combine a level with the features of the next coarser level, and upsample the result."""

    def __init__(self, features: int, has_skip: bool) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = ResidualUnit(features) if has_skip else None
        self.resConfUnit2 = ResidualUnit(features)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Combine and upsample: x and skip (N, features, h, w) → (N, features, *size)."""
        if self.resConfUnit1 is not None:
            x = x + self.resConfUnit1(skip)
        # The published order is to resize and then convolve. A 1×1 convolution commutes with an interpolation, whose
        # weights add up to 1; convolving first takes a quarter of the operations and of the memory.
        return _resized(self.out_conv(self.resConfUnit2(x)), size)


class Scratch(nn.Module):
    """Convolutions on the four levels, under their published names."""

    def __init__(self, level_channels: Sequence[int], features: int, out_channels: int) -> None:
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in level_channels
        )
        self.refinenet1, self.refinenet2 = Refinement(features, True), Refinement(features, True)
        self.refinenet3, self.refinenet4 = Refinement(features, True), Refinement(features, False)
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, out_channels, 1)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Four levels, the finest (N, C, h, w) first → (N, features / 2, 2h, 2w)."""
        convolutions = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        l1, l2, l3, l4 = (convolution(level) for convolution, level in zip(convolutions, levels, strict=True))
        x = self.refinenet4(l4, None, l3.shape[2:])
        x = self.refinenet3(x, l3, l2.shape[2:])
        x = self.refinenet2(x, l2, l1.shape[2:])
        x = self.refinenet1(x, l1, (2 * l1.shape[2], 2 * l1.shape[3]))
        result: Tensor = self.output_conv1(x)
        return result


class DPTHead(nn.Module):
    """Predict values and confidence per pixel.

    Frames are independent here, so they run ``frames_chunk_size`` at a time, which changes results only by rounding.

    Args:
        in_channels: Width of the tokens.
        level_channels: Channels of the four levels, the finest first; multiples of 4.
        features: Channels of the refinement; a multiple of 8.
        kind: ``"depth"``: one value through exp; ``"points"``: three through sign(y) · (e^|y| − 1).
        patch_size: Side of a patch in pixels.
        frames_chunk_size: Number of frames at a time, to save memory.
        gradient_checkpointing: Recompute each chunk in the backward pass, to save memory.
    """

    def __init__(
        self,
        in_channels: int,
        level_channels: Sequence[int],
        features: int,
        kind: Literal["depth", "points"],
        patch_size: int,
        frames_chunk_size: int,
        gradient_checkpointing: bool,
    ) -> None:
        super().__init__()
        self.kind, self.patch_size = kind, patch_size
        self.frames_chunk_size, self.gradient_checkpointing = frames_chunk_size, gradient_checkpointing
        one, two, _, four = level_channels
        self.norm = nn.LayerNorm(in_channels)
        self.projects = nn.ModuleList(nn.Conv2d(in_channels, c, 1) for c in level_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(one, one, 4, stride=4),
                nn.ConvTranspose2d(two, two, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(four, four, 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(level_channels, features, 2 if kind == "depth" else 4)
        self._tables = TableCache()

    def forward(self, layers: Sequence[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Predict dense maps from patch tokens.

        Args:
            layers: Patch tokens of the four layers, each (B, S, rows · columns, in_channels), of any float type;
                the head computes in the type of its weights.
            grid: Rows and columns of patches.

        Returns:
            Values (B, S, H, W, 1 or 3) and confidence (B, S, H, W), above 1, float32.
        """
        chunks = zip(*(tokens.flatten(0, 1).split(self.frames_chunk_size) for tokens in layers), strict=True)
        maps = torch.cat([self._run(chunk, grid) for chunk in chunks])
        maps = maps.unflatten(0, layers[0].shape[:2]).movedim(2, -1).float()
        values, confidence = maps[..., :-1], maps[..., -1]
        values = values.exp() if self.kind == "depth" else values.sign() * values.abs().expm1()
        return values, 1 + confidence.exp()

    def _run(self, chunk: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        if self.gradient_checkpointing and needs_graph(self, *chunk):
            result: Tensor = checkpoint(self._frames, chunk, grid, use_reentrant=False, preserve_rng_state=False)
            return result
        return self._frames(chunk, grid)

    def _frames(self, chunk: tuple[Tensor, ...], grid: tuple[int, int]) -> Tensor:
        """Tokens of N frames, per layer (N, rows · columns, in_channels) → raw maps (N, 2 or 4, H, W)."""
        levels = []
        for tokens, project, resize in zip(chunk, self.projects, self.resize_layers, strict=True):
            x = self.norm(tokens.to(self.norm.weight.dtype)).transpose(1, 2).unflatten(2, grid)
            levels.append(resize(self._with_positions(project(x), grid)))
        size = (grid[0] * self.patch_size, grid[1] * self.patch_size)
        features = self._with_positions(_resized(self.scratch(levels), size), grid)
        maps: Tensor = self.scratch.output_conv2(features)
        return maps

    def _with_positions(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add to x (N, C, h, w) the embedding of its pixels' positions in the image."""
        _, channels, height, width = x.shape
        aspect = grid[1] / grid[0]
        column, row = self._tables.get(
            (channels, height, width, aspect, x.device),
            lambda: pixel_vectors(channels, (height, width), aspect, x.device),
        )
        halves = [half.expand(-1, height, width) for half in (column, row)]
        return x + POSITION_WEIGHT * torch.cat(halves).to(x.dtype)
