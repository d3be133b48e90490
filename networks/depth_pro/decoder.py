"""Decoder of Depth Pro: from five levels of features to one, from the coarsest up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),  # not in place: the sum takes x, not relu(x)
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, h, w) → (B, features, h, w)."""
        return self.residual(x).add_(x)  # in place: no other has the convolution's output, and no gradient needs it


class Fusion(nn.Module):
    """Joins what comes from the coarser level with a level, and doubles the sides.

    Args:
        features: Channels.
        has_skip: There is a level to join; not so at the coarsest.
        doubles: Double the sides; not so at the finest.
    """

    def __init__(self, features: int, has_skip: bool, doubles: bool) -> None:
        super().__init__()
        self.resnet1 = ResidualUnit(features) if has_skip else None
        self.resnet2 = ResidualUnit(features)
        self.deconv = nn.ConvTranspose2d(features, features, 2, stride=2, bias=False) if doubles else None
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """x and skip (B, features, h, w) → (B, features, 2h, 2w), or without the 2."""
        if self.resnet1 is not None:
            x = self.resnet1(skip).add_(x)
        x = self.resnet2(x)
        if self.deconv is None:
            return self.out_conv(x)
        # Nothing stands between the two, so their product does the work of both: the 1×1 convolution then costs
        # nothing at four times the pixels, and the tensor between them need not be kept.
        with torch.autocast(x.device.type, enabled=False):
            weight = torch.einsum("imhw,om->iohw", self.deconv.weight, self.out_conv.weight.flatten(1))
        return F.conv_transpose2d(x, weight, self.out_conv.bias, stride=2)


class Decoder(nn.Module):
    """One level of features out of five.

    Args:
        level_channels: Channels of the levels, the finest first; the finest has ``features``.
        features: Channels of the result.
        gradient_checkpointing: Recompute each fusion in the backward pass, for memory.
    """

    def __init__(self, level_channels: Sequence[int], features: int, gradient_checkpointing: bool) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        convs = [nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in level_channels[1:]]
        self.convs = nn.ModuleList([nn.Identity(), *convs])
        last = len(level_channels) - 1
        self.fusions = nn.ModuleList(Fusion(features, has_skip=i < last, doubles=i > 0) for i in range(last + 1))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, h, w), the finest first, each with half the sides of the one before → (B, features, h, w)."""
        x = self._fused(self.fusions[-1], self.convs[-1](levels[-1]), None)
        for index in reversed(range(len(levels) - 1)):
            x = self._fused(self.fusions[index], x, self.convs[index](levels[index]))
        return x

    def _fused(self, fusion: nn.Module, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.gradient_checkpointing:
            return checkpoint(fusion, x, skip, use_reentrant=False, preserve_rng_state=False)
        return fusion(x, skip)
