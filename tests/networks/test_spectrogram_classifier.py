from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from formats.errors import InputError
from networks.spectrogram_classifier import SpectrogramClassifier, _shift_in_time, fit_classifier, shrink


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make small work many times slower where others use the machine too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def walkers(count: int, num_users: int, seed: int, size: int = 64) -> tuple[Tensor, Tensor]:
    """Noise with one bright line, at a height that is the user's and a little its own."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.arange(count) % num_users
    images = torch.randint(0, 120, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    heights = size // 4 + users * 4 * size // 64 + torch.randint(0, 2, (count,), generator=generator)
    images[torch.arange(count), :, heights] = 220
    return images, users


def test_it_recognises_users_by_doppler_frequency_alone() -> None:
    classifier = fit_classifier(*walkers(120, 4, seed=0), num_users=4, steps=60)
    images, users = walkers(60, 4, seed=1)
    assert (classifier(images).argmax(1) == users).float().mean() > 0.9
    assert not classifier.training
    assert not any(p.requires_grad for p in classifier.parameters())


def test_shapes_and_sizes() -> None:
    classifier = SpectrogramClassifier(num_users=3, width=16, input_size=32)
    images = torch.randint(0, 256, (2, 3, 100, 80), dtype=torch.uint8)
    assert classifier.features(images).shape == (2, classifier.num_features) == (2, 32)
    assert classifier(images).shape == (2, 3)
    assert classifier(images).dtype == torch.float32
    torch.testing.assert_close(classifier(images), classifier.classify(classifier.features(images)))


@pytest.mark.parametrize(
    "arguments", [{"num_users": 1}, {"num_users": 3, "width": 12}, {"num_users": 3, "input_size": 4}]
)
def test_impossible_sizes_are_named(arguments: dict[str, int]) -> None:
    with pytest.raises(InputError, match=list(arguments)[-1]):
        SpectrogramClassifier(**arguments)


def test_shrinking_averages() -> None:
    stripes = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    stripes[..., ::4] = 200  # finer than the small image: without a filter they would vanish
    small = shrink(stripes)
    assert small.shape == (1, 3, 64, 64)
    assert small.dtype == torch.uint8
    inside = small[..., 1:-1].int()  # the filter is cut off at the rim
    assert (inside - 50).abs().max() <= 2
    assert torch.equal(shrink(small), small)


def test_the_same_seed_trains_the_same_and_leaves_global_randomness_alone() -> None:
    images, users = walkers(40, 4, seed=0)
    state = torch.random.get_rng_state()
    first = fit_classifier(images, users, 4, seed=3, steps=5)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(99)
    same, other = fit_classifier(images, users, 4, seed=3, steps=5), fit_classifier(images, users, 4, seed=4, steps=5)
    torch.testing.assert_close(first(images), same(images))
    assert not torch.allclose(first(images), other(images), atol=1e-2)


def test_it_trains_inside_inference_mode_and_autocast() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        images, users = walkers(40, 4, seed=0)
        inside = fit_classifier(images, users, 4, steps=5)
    assert all(p.dtype == torch.float32 and not p.is_inference() for p in inside.parameters())
    torch.testing.assert_close(inside(images), fit_classifier(*walkers(40, 4, seed=0), 4, steps=5)(images))


def test_shifts_go_along_time_and_never_mirror() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(50, 3, 64, 64)
    shifted = _shift_in_time(ramp, torch.Generator().manual_seed(0)).int()
    assert (shifted.diff(dim=3) >= 0).all()
    assert (shifted == shifted[:, :, :1]).all()  # rows, the Doppler axis, stay in step
    offsets = shifted[:, 0, 0, 32] - 32
    assert offsets.unique().numel() > 5
    assert offsets.abs().max() <= 8


def test_images_and_users_must_fit() -> None:
    images, users = walkers(8, 2, seed=0)
    for wrong in ((images[:0], users[:0]), (images, users[:3]), (images.float(), users)):
        with pytest.raises(InputError, match="fit_classifier"):
            fit_classifier(*wrong, num_users=2)
