"""Orders that depend on the seed alone, and epochs entered midway."""

from itertools import chain

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.loading import EpochSampler, EvaluationSampler, ResumableLoader, WholeBatches


class Numbers(Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitems__(self, indices):
        return torch.tensor(indices)


def steps(world_size, size=50, batch=12, epoch=0, seed=0):
    """Samples of every step, over all processes."""
    per_process = []
    for rank in range(world_size):
        sampler = EpochSampler(size, batch // world_size, rank, world_size, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        per_process.append(torch.tensor(list(sampler)).view(-1, batch // world_size))
    return [sorted(chain.from_iterable(part.tolist() for part in step)) for step in zip(*per_process, strict=True)]


def test_a_step_has_the_same_samples_under_any_number_of_processes():
    assert steps(1) == steps(2) == steps(4)
    assert len(steps(1)) == 4
    assert len(set(chain.from_iterable(steps(1)))) == 48


def test_epochs_and_seeds_differ():
    assert steps(1, epoch=1) != steps(1)
    assert steps(1, seed=1) != steps(1)


def test_a_small_data_set_fills_one_batch():
    assert [len(step) for step in steps(2, size=5, batch=16)] == [16]


def loader(workers=0):
    return ResumableLoader(Numbers(40), 4, rank=0, world_size=1, seed=3, num_workers=workers)


def read(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in loader]


def test_an_interrupted_epoch_goes_on_with_its_next_batch():
    expected = [read(loader(), epoch) for epoch in range(3)]
    for workers in (0, 2):
        first = loader(workers)
        first.sampler.set_epoch(1)
        iterator = iter(first)
        taken = [next(iterator).tolist() for _ in range(6)]
        state = first.state_dict()
        assert state == {"epoch": 1, "batch": 6}
        second = loader(workers)
        second.load_state_dict(state)
        assert len(second) == 10
        assert taken + read(second, 1) == expected[1]
        assert read(second, 2) == expected[2]


def test_a_finished_epoch_is_followed_by_the_next():
    one = loader()
    read(one, 0)
    assert one.state_dict() == {"epoch": 1, "batch": 0}


def test_evaluation_covers_everything_once_in_equal_shares():
    shares = [list(EvaluationSampler(10, rank, 4)) for rank in range(4)]
    assert {len(share) for share in shares} == {3}
    assert sorted(index for index in chain.from_iterable(shares) if index >= 0) == list(range(10))


def test_whole_batches_keep_their_order_with_workers():
    requests = list(range(7))
    for workers in (0, 2, 3):
        stream = DataLoader(WholeBatches(requests, _double), batch_size=None, num_workers=workers)
        assert list(stream) == [2 * request for request in requests]


def _double(request):
    return 2 * request
