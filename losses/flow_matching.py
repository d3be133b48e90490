"""The flow-matching objective of LightningDiT."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def velocity_loss(velocity: Tensor, target: Tensor) -> Tensor:
    """Compute the mean squared error per sample, (B,), of velocities (B, C, H, W).

    Example::

        >>> import torch
        >>> velocity_loss(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
        tensor([1., 1.])
    """
    return (velocity - target).square().flatten(1).mean(dim=1)


def direction_loss(velocity: Tensor, target: Tensor) -> Tensor:
    """Compute one minus the cosine similarity over channels, averaged over the grid: (B,) in 0…2.

    The optional second term of LightningDiT (Yao et al., CVPR 2025).
    """
    return (1 - F.cosine_similarity(velocity, target, dim=1)).flatten(1).mean(dim=1)
