"""Orders that depend only on the seed, and epochs resumed midway."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.loading import EpochSampler, EvaluationSampler, PrebatchedDataset, ResumableLoader, share_of
from formats.errors import InputError


class Numbers(Dataset[Tensor]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, indices: list[int]) -> Tensor:
        return torch.tensor(indices)


def steps(world_size: int, size: int = 50, batch: int = 12, epoch: int = 0, seed: int = 0) -> list[list[int]]:
    """Samples of every step, over all processes."""
    per_process = []
    for rank in range(world_size):
        sampler = EpochSampler(size, batch // world_size, rank, world_size, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        per_process.append(torch.tensor(list(sampler)).view(-1, batch // world_size))
    return [sorted(chain.from_iterable(part.tolist() for part in step)) for step in zip(*per_process, strict=True)]


def test_a_step_has_the_same_samples_under_any_number_of_processes() -> None:
    assert steps(1) == steps(2) == steps(4)
    assert len(steps(1)) == 4
    assert len(set(chain.from_iterable(steps(1)))) == 48


def test_epochs_and_seeds_differ() -> None:
    assert steps(1, epoch=1) != steps(1)
    assert steps(1, seed=1) != steps(1)
    assert steps(1, seed=1) != steps(1, epoch=1)


def test_a_small_data_set_fills_one_batch() -> None:
    assert [len(step) for step in steps(2, size=5, batch=16)] == [16]


def loader(workers: int = 0) -> ResumableLoader:
    return ResumableLoader(Numbers(40), 4, rank=0, world_size=1, seed=3, num_workers=workers)


def read(loader: ResumableLoader, epoch: int) -> list[list[int]]:
    loader.epoch_sampler.set_epoch(epoch)
    return [batch.tolist() for batch in loader]


def test_an_interrupted_epoch_continues_with_its_next_batch() -> None:
    expected = [read(loader(), epoch) for epoch in range(3)]
    for workers in (0, 2):
        first = loader(workers)
        first.epoch_sampler.set_epoch(1)
        iterator = iter(first)
        taken = [next(iterator).tolist() for _ in range(6)]
        state = first.state_dict()
        assert state == {"epoch": 1, "batch": 6}
        second = loader(workers)
        second.load_state_dict(state)
        assert len(second) == 10
        assert taken + read(second, 1) == expected[1]
        assert read(second, 2) == expected[2]


def test_a_finished_epoch_is_followed_by_the_next() -> None:
    one = loader()
    read(one, 0)
    assert one.state_dict() == {"epoch": 1, "batch": 0}


def test_evaluation_covers_everything_once_in_equal_shares() -> None:
    shares = [list(EvaluationSampler(10, rank, 4)) for rank in range(4)]
    assert {len(share) for share in shares} == {3}
    assert sorted(index for index in chain.from_iterable(shares) if index >= 0) == list(range(10))


def test_batches_keep_their_order_with_workers() -> None:
    requests = list(range(7))
    for workers in (0, 1, 2):
        stream = DataLoader(PrebatchedDataset(requests, _double), batch_size=None, num_workers=workers)
        assert list(stream) == [2 * request for request in requests]


def _double(request: int) -> int:
    return 2 * request


def test_a_batch_larger_than_the_data_is_refused() -> None:
    """Ten samples in a batch of 10⁹ would be repeated 10⁸ times."""
    dataset = Numbers(10)
    assert len(ResumableLoader(dataset, 10, 0, 1, seed=0)) == 1
    for size in (11, 10**9):
        with pytest.raises(InputError, match=rf"^--data\.batch_size: is {size}, but there are 10 training samples"):
            ResumableLoader(dataset, size, 0, 1, seed=0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_process_has_a_batch_to_predict(world_size: int) -> None:
    shares = [list(share_of(range(3), rank, world_size, "--data.images")) for rank in range(world_size)]
    assert sorted(chain.from_iterable(shares)) == [0, 1, 2]
    with pytest.raises(InputError, match=r"--data\.images: gives 2 batches for 3 processes.*devices 2 or fewer"):
        share_of(range(2), 0, 3, "--data.images")
