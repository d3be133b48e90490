from __future__ import annotations

import pytest
import torch

from formats.errors import InputError
from networks.spectrogram_classifier import SpectrogramClassifier, shrink


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


def test_features_do_not_depend_on_when_a_step_falls_but_on_its_doppler_frequency() -> None:
    torch.manual_seed(0)
    classifier = SpectrogramClassifier(num_users=2).eval()
    images = torch.full((3, 3, 64, 64), 40, dtype=torch.uint8)
    images[0, :, 24:28, 24:32] = 220
    images[1, :, 24:28, 32:40] = 220  # the same, later
    images[2, :, 40:44, 24:32] = 220  # the same, at another frequency
    early, late, slower = classifier.features(images)
    assert (early - late).abs().max() < 1e-4
    assert (early - slower).abs().max() > 1e-2
