"""Random numbers of the generator's training, and the strategies it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from formats.errors import InputError
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from tests.support.tiny_tasks import microdoppler


def draws(module: UserConditionedDiTModule, count: int, rank: int = 0, step: int = 0) -> dict[str, Any]:
    """The random numbers of a process's batch in a step."""
    progress = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=step))
    module.trainer = SimpleNamespace(fit_loop=progress, global_rank=rank)  # type: ignore[assignment]
    latents = torch.zeros(count, 8, 4, 4)
    batch: Any = {"latents": latents, "latents_flip": latents + 1, "classes": torch.zeros(count, dtype=torch.int64)}
    return dict(module.with_random_numbers(batch))


@pytest.fixture
def module(tmp_path: Path) -> UserConditionedDiTModule:
    module, _ = microdoppler(tmp_path)
    assert isinstance(module, UserConditionedDiTModule)
    return module


@pytest.mark.parametrize("name", ["noise", "times", "label_draws", "latents"])
def test_random_numbers_do_not_depend_on_the_number_of_processes(module: UserConditionedDiTModule, name: str) -> None:
    whole = draws(module, 8)[name]
    halves = torch.cat([draws(module, 4, rank)[name] for rank in (0, 1)])
    assert torch.equal(whole, halves)
    assert len(whole.unique(dim=0)) == (2 if name == "latents" else 8), "each sample has its own"
    assert not torch.equal(whole, draws(module, 8, step=1)[name])


def test_random_numbers_depend_on_the_seed(tmp_path: Path, module: UserConditionedDiTModule) -> None:
    other, _ = microdoppler(tmp_path, noise_seed=1)
    assert isinstance(other, UserConditionedDiTModule)
    assert not torch.equal(draws(module, 2)["noise"], draws(other, 2)["noise"])


def test_random_numbers_have_their_distributions(module: UserConditionedDiTModule) -> None:
    numbers = draws(module, 2000)
    assert numbers["noise"].mean().abs() < 0.01
    assert (numbers["noise"].std() - 1).abs() < 0.01
    assert (numbers["times"].logit().std() - 1).abs() < 0.1
    assert (numbers["label_draws"].mean() - 0.5).abs() < 0.03
    assert (numbers["latents"][:, 0, 0, 0].mean() - 0.5).abs() < 0.05


def test_sharded_weights_are_refused(module: UserConditionedDiTModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserConditionedDiTModule, "device_mesh", object())
    with pytest.raises(InputError, match=r"--trainer\.strategy: shards the network"):
        module.configure_model()
