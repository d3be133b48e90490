"""Images of latents, for where no tokenizer decodes them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LIMITS = (0.01, 0.99)  # quantiles that become black and full colour


def latent_images(latents: Tensor) -> NDArray[np.uint8]:
    """Draw latents as images that can be compared with each other.

    Args:
        latents: (N, C, H, W) float.

    Returns:
        (N, H, W, 3): the first three principal components of the channels, over all latents, as red, green and blue.
        Latents one row high, whose channels hold the whole Doppler axis, become (N, C, W, 3): a grey row per channel.
    """
    values = latents.detach().double().cpu()
    n, channels, height, width = values.shape
    if height == 1:
        grey = _scaled(values.squeeze(2), (0, 2))
        return np.repeat(grey[..., None], 3, axis=-1)
    cells = values.permute(0, 2, 3, 1).reshape(-1, channels)
    cells = cells - cells.mean(dim=0)
    directions = torch.linalg.eigh(cells.T @ cells).eigenvectors.flip(1)[:, :3]  # of the largest eigenvalues
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    components = (cells @ (directions * largest.sign())).reshape(n, height, width, -1)
    missing = 3 - components.shape[-1]
    return _scaled(torch.nn.functional.pad(components, (0, missing)), (0, 1, 2))


def _scaled(values: Tensor, dims: tuple[int, ...]) -> NDArray[np.uint8]:
    """Scale to 0…255 between quantiles over some dimensions; constant values become 0."""
    last = values.movedim(dims, tuple(range(-len(dims), 0)))
    low, high = last.flatten(-len(dims)).quantile(torch.tensor(LIMITS, dtype=values.dtype), dim=-1)
    shape = [1 if dim in dims else size for dim, size in enumerate(values.shape)]
    low, high = low.view(shape), high.view(shape)
    shares = ((values - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    scaled: NDArray[np.uint8] = (shares * 255).round().byte().numpy()
    return scaled
