from __future__ import annotations

import pytest
import torch
from torch import Tensor

from formats.errors import InputError
from lightning_modules.classifier_training import fit_classifier, shift_in_time


def walkers(count: int, num_users: int, seed: int, size: int = 64) -> tuple[Tensor, Tensor]:
    """Noise with one bright line, at a height that is the user's and a little its own."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.arange(count) % num_users
    images = torch.randint(0, 120, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    heights = size // 4 + users * 4 * size // 64 + torch.randint(0, 2, (count,), generator=generator)
    images[torch.arange(count), :, heights] = 220
    return images, users


@pytest.mark.slow
def test_users_are_recognised_by_doppler_frequency_only() -> None:
    classifier = fit_classifier(*walkers(120, 4, seed=0), num_users=4, steps=60)
    images, users = walkers(60, 4, seed=1)
    assert (classifier(images).argmax(1) == users).float().mean() > 0.9
    assert not classifier.training
    assert not any(p.requires_grad for p in classifier.parameters())


def test_the_same_seed_trains_the_same_and_leaves_global_randomness_alone() -> None:
    images, users = walkers(40, 4, seed=0)
    state = torch.random.get_rng_state()
    first = fit_classifier(images, users, 4, seed=3, steps=5)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(99)
    same, other = fit_classifier(images, users, 4, seed=3, steps=5), fit_classifier(images, users, 4, seed=4, steps=5)
    torch.testing.assert_close(first(images), same(images))
    assert not torch.allclose(first(images), other(images), atol=1e-2)
    # without training, only the initial weights differ
    untrained = [fit_classifier(images, users, 4, seed=seed, steps=1, learning_rate=0.0) for seed in (3, 4)]
    assert not torch.allclose(untrained[0](images), untrained[1](images), atol=1e-3)


def test_it_trains_inside_inference_mode_and_autocast() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        images, users = walkers(40, 4, seed=0)
        inside = fit_classifier(images, users, 4, steps=5)
    assert all(p.dtype == torch.float32 and not p.is_inference() for p in inside.parameters())
    torch.testing.assert_close(inside(images), fit_classifier(*walkers(40, 4, seed=0), 4, steps=5)(images))


def test_shifts_go_along_time_and_never_mirror() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(50, 3, 64, 64)
    shifted = shift_in_time(ramp, torch.Generator().manual_seed(0)).int()
    assert (shifted.diff(dim=3) >= 0).all()
    assert (shifted == shifted[:, :, :1]).all()  # rows, the Doppler axis, shift together
    offsets = shifted[:, 0, 0, 32] - 32
    assert offsets.unique().numel() > 5
    assert offsets.abs().max() <= 8


def test_images_and_users_must_fit() -> None:
    images, users = walkers(8, 2, seed=0)
    for wrong in ((images[:0], users[:0]), (images, users[:3]), (images.float(), users)):
        with pytest.raises(InputError, match="fit_classifier"):
            fit_classifier(*wrong, num_users=2)
