"""Latents drawn as images."""

import numpy as np
import torch

from exporters.visualization.latents import latent_images


def test_three_components_become_colours() -> None:
    """Latents are mixtures of three patterns; the strongest is red, the weakest blue."""
    rng = torch.Generator().manual_seed(0)
    patterns = torch.randn(4, 3, 8, 8, generator=rng, dtype=torch.float64)
    patterns *= torch.tensor([9.0, 3.0, 1.0]).view(3, 1, 1)
    directions = torch.linalg.qr(torch.randn(16, 3, generator=rng, dtype=torch.float64)).Q
    images = latent_images(torch.einsum("nkhw,ck->nchw", patterns, directions).float())
    assert images.shape == (4, 8, 8, 3)
    assert images.dtype == np.uint8
    for colour in range(3):
        pair = np.corrcoef(images[..., colour].ravel(), patterns[:, colour].numpy().ravel())
        assert abs(pair[0, 1]) > 0.97
    assert images.min() == 0
    assert images.max() == 255


def test_equal_latents_give_equal_images() -> None:
    latents = torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    latents[2] = latents[0]
    images = latent_images(latents)
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


def test_few_channels_and_constant_latents() -> None:
    images = latent_images(torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2)))
    assert images[..., 1:].max() == 0
    assert latent_images(torch.ones(2, 5, 4, 4)).max() == 0


def test_columns_that_hold_the_whole_axis_are_drawn_by_channel() -> None:
    latents = torch.arange(16.0).view(1, 1, 1, 16) * torch.tensor([1.0, -100.0, 0.01]).view(1, 3, 1, 1)
    images = latent_images(latents)
    assert images.shape == (1, 3, 16, 3)
    assert images[0, 0, 0, 0] == images[0, 1, -1, 0] == images[0, 2, 0, 0] == 0
    assert images[0, 0, -1, 0] == images[0, 1, 0, 0] == images[0, 2, -1, 0] == 255
