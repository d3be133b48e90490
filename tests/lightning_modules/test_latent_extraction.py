from __future__ import annotations

import pytest
import torch
from torch import Tensor

from batches.microdoppler import ExtractionBatch
from formats.errors import InputError
from lightning_modules.latent_extraction import LatentExtractionModule
from networks.tokenizers import Posterior, Tokenizer, to_unit


class Means(Tokenizer):
    """One latent per 8 × 8 pixels, their mean, with a standard deviation of 1."""

    latent_channels, downsampling = 3, 8

    def encode(self, images: Tensor) -> Posterior:
        mean = torch.nn.functional.avg_pool2d(images, 8)
        return Posterior(mean, torch.zeros_like(mean))

    def decode(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:
        return latents.repeat_interleave(8, 2).repeat_interleave(8, 3)


class NotFinite(Means):
    """Latents that are infinite or NaN."""

    def encode(self, images: Tensor) -> Posterior:
        return Posterior(images / 0, images)


def batch(*names: str) -> ExtractionBatch:
    images = torch.randint(0, 256, (1, 3, 16, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    count = len(names)
    return {
        "images": images.expand(count, -1, -1, -1),
        "user_ids": torch.ones(count, dtype=torch.int64),
        "names": list(names),
        "shard": "train.safetensors",
        "shard_size": count,
    }


def encoded(names: tuple[str, ...], seed: int = 0, flip: bool = False) -> dict[str, Tensor]:
    module = LatentExtractionModule("unused", posterior="sample", seed=seed, flip=flip)
    module.tokenizer = Means()
    return module.predict_step(batch(*names), 0)


def test_a_draw_depends_on_seed_and_name_only() -> None:
    a, b = encoded(("a", "b"))["latents"]
    assert torch.equal(encoded(("b", "a"))["latents"], torch.stack([b, a]))
    assert not torch.allclose(a, b, atol=0.1)
    assert not torch.allclose(encoded(("a",), seed=1)["latents"][0], a, atol=0.1)


def test_flipped_images_are_encoded_with_separate_draws() -> None:
    module = LatentExtractionModule("unused", flip=True)
    module.tokenizer = Means()
    latents = module.predict_step(batch("a"), 0)
    expected = Means().encode(to_unit(batch("a")["images"])).mean
    torch.testing.assert_close(latents["latents"], expected)
    torch.testing.assert_close(latents["latents_flip"], expected.flip(-1))
    drawn = encoded(("a",), flip=True)
    noise, noise_flip = drawn["latents"] - expected, drawn["latents_flip"] - expected.flip(-1)
    assert not torch.allclose(noise, noise_flip, atol=0.1)


def test_latents_that_are_not_finite_are_refused() -> None:
    module = LatentExtractionModule("unused")
    module.tokenizer = NotFinite()
    with pytest.raises(InputError, match=r"a: .*not finite.*32-true"):
        module.predict_step(batch("a"), 0)


def test_without_a_tokenizer_the_error_explains_how_to_get_one() -> None:
    with pytest.raises(InputError, match=r"--model\.tokenizer_path: is not set.*LatentShardWriter"):
        LatentExtractionModule().load_tokenizer()
