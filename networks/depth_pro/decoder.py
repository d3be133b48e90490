"""Decoder of Depth Pro: joins five levels of features into one, from the coarsest to the finest."""

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
        residual: Tensor = self.residual(x)
        return residual.add_(x)  # in place: nothing else uses the convolution's output


class Fusion(nn.Module):
    """Add a level to the output of the coarser one, and double the sides.

    Args:
        features: Number of channels.
        has_skip: Whether there is a level to add; all but the coarsest have one.
        doubles: Whether to double the sides; all but the finest do.
    """

    def __init__(self, features: int, has_skip: bool, doubles: bool) -> None:
        super().__init__()
        self.resnet1 = ResidualUnit(features) if has_skip else None
        self.resnet2 = ResidualUnit(features)
        self.deconv = nn.ConvTranspose2d(features, features, 2, stride=2, bias=False) if doubles else None
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Join x and skip (B, features, h, w) → (B, features, 2h, 2w), or (B, features, h, w) at the finest level."""
        if self.resnet1 is not None:
            x = self.resnet1(skip).add_(x)
        x = self.resnet2(x)
        if self.deconv is None:
            out: Tensor = self.out_conv(x)
            return out
        # The 1×1 convolution directly follows the transposed one, so both are applied as one convolution: this saves
        # its cost at four times the pixels and the memory of the tensor between them.
        with torch.autocast(x.device.type, enabled=False):
            weight = torch.einsum("imhw,om->iohw", self.deconv.weight, self.out_conv.weight.flatten(1))
        return F.conv_transpose2d(x, weight, self.out_conv.bias, stride=2)


class Decoder(nn.Module):
    """Join five levels of features into one.

    Args:
        level_channels: Channels of the levels, the finest first; the finest has ``features``.
        features: Channels of the result.
        gradient_checkpointing: Recompute each fusion in the backward pass, to save memory.
    """

    def __init__(self, level_channels: Sequence[int], features: int, gradient_checkpointing: bool) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        convs = [nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in level_channels[1:]]
        self.convs = nn.ModuleList([nn.Identity(), *convs])
        last = len(level_channels) - 1
        self.fusions = nn.ModuleList(Fusion(features, has_skip=i < last, doubles=i > 0) for i in range(last + 1))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Join levels (B, C, h, w), the finest first, each half the size of the one before → (B, features, h, w)."""
        x = self._fused(self.fusions[-1], self.convs[-1](levels[-1]), None)
        for index in reversed(range(len(levels) - 1)):
            x = self._fused(self.fusions[index], x, self.convs[index](levels[index]))
        return x

    def _fused(self, fusion: nn.Module, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.gradient_checkpointing:
            fused: Tensor = checkpoint(fusion, x, skip, use_reentrant=False, preserve_rng_state=False)
        else:
            fused = fusion(x, skip)
        return fused
