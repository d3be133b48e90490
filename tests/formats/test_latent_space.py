from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from formats.errors import InputError
from formats.latent_shards import LatentStatistics
from formats.latent_space import LatentSpace
from formats.spectrogram_axes import SpectrogramAxes

SPACE = LatentSpace(
    LatentStatistics(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])),
    policy="dataset",
    multiplier=0.18,
    user_ids=torch.tensor([1, 2, 5]),
    tokenizer="tokenizer.safetensors",
    tokenizer_fingerprint="abc",
    axes=SpectrogramAxes(2.5, -1.5, 6.0),
)


def test_latents_are_normalised_per_channel() -> None:
    latents = torch.tensor([2.0, 2.0]).view(1, 2, 1, 1)
    assert_close(SPACE.normalise(latents).flatten(), 0.18 * torch.tensor([2.0, 1.0]))
    assert_close(SPACE.denormalise(SPACE.normalise(latents)), latents)


def test_users_become_classes() -> None:
    assert SPACE.classes(torch.tensor([5, 1, 2])).tolist() == [2, 0, 1]
    with pytest.raises(InputError, match=r"user 3, 9: is not among.*1, 2, 5"):
        SPACE.classes(torch.tensor([3, 1, 9]))


def test_users_of_new_data_are_added() -> None:
    statistics = LatentStatistics(torch.zeros(2), torch.ones(2))
    data = replace(SPACE, statistics=statistics, user_ids=torch.tensor([2, 3, 9]), tokenizer="here.safetensors")
    both = SPACE.with_users_of(data)
    assert both.user_ids.tolist() == [1, 2, 3, 5, 9]
    assert both.differences(replace(SPACE, user_ids=both.user_ids)) == []  # the statistics stay
    assert both.tokenizer == "here.safetensors"
    assert both.axes == SPACE.axes == SPACE.with_users_of(replace(data, axes=None)).axes
    assert SPACE.with_users_of(replace(data, tokenizer_fingerprint="")).tokenizer_fingerprint == "abc"
    with pytest.raises(InputError, match=r"latents: were made by another tokenizer.*tokenizer_path tokenizer\.safe"):
        SPACE.with_users_of(replace(data, tokenizer_fingerprint="def"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"user_ids": torch.tensor([1, 2])}, "users"),
        ({"statistics": LatentStatistics(torch.tensor([1.0, -2.1]), torch.tensor([0.5, 4.0]))}, "latent mean"),
        ({"statistics": LatentStatistics(torch.tensor([1.0, -2.0]), torch.tensor([0.6, 4.0]))}, "latent std"),
        ({"multiplier": 1.0}, "latent multiplier"),
        ({"tokenizer_fingerprint": "abd"}, "tokenizer"),
    ],
)
def test_differences_are_named(change: dict[str, Any], name: str) -> None:
    assert SPACE.differences(replace(SPACE, **change)) == [name]
    assert SPACE.differences(replace(SPACE, tokenizer="elsewhere.safetensors")) == []  # files may move


def test_it_survives_a_checkpoint(tmp_path: Path) -> None:
    torch.save(SPACE.to_checkpoint(), tmp_path / "space.pt")
    restored = LatentSpace.from_checkpoint(torch.load(tmp_path / "space.pt", weights_only=True))
    assert SPACE.differences(restored) == []
    names = ("policy", "tokenizer", "axes")
    assert [getattr(restored, name) for name in names] == [getattr(SPACE, name) for name in names]
