"""Data loaders whose order depends only on seeds, not on workers, processes, or where a run was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from batches.trainer import process_of
from formats.errors import InputError

logger = logging.getLogger(__name__)
Request = TypeVar("Request")
Batch = TypeVar("Batch")
OnError = Literal["raise", "skip"]


class EpochSampler(DistributedSampler[int]):
    """Sample this process's share of an epoch in an order drawn from the seed and the epoch.

    The global order is cut into global batches before processes take their shares, so that the set of samples
    in a step does not depend on the number of processes. Samples beyond the last full global batch are left
    out of the epoch; a dataset smaller than one batch is repeated to fill it.
    """

    def __init__(self, size: int, batch_size: int, rank: int, world_size: int, shuffle: bool, seed: int) -> None:
        super().__init__(_numbers(size), world_size, rank, shuffle=shuffle, seed=seed)
        self.size, self.batch_size = size, batch_size
        self.batches = max(1, size // (batch_size * world_size))
        self.first_batch = 0

    def __len__(self) -> int:
        """Return the number of samples of this process in a full epoch, even if the epoch is resumed midway."""
        return self.batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; any epoch but the resumed one starts with its first batch."""
        if epoch != self.epoch:
            self.first_batch = 0
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
        needed = self.batches * self.batch_size * self.num_replicas
        order = order.repeat(-(-needed // self.size))[:needed].view(self.batches, self.num_replicas, -1)
        yield from order[self.first_batch :, self.rank].flatten().tolist()


class ResumableLoader(DataLoader[Any]):
    """Training loader that continues with the next batch of an interrupted epoch; see :class:`ResumableDataModule`.

    Args:
        dataset: Has ``__getitems__(indices) -> batch``, so that a batch is loaded at once, and a length.
        batch_size: Samples per process and step.
        rank: Rank of this process.
        world_size: Number of processes.
        seed: Seed of the order.
        num_workers: Number of worker processes; 0 is fastest if a batch is only copied in memory.

    Raises:
        InputError: A batch is larger than the dataset.
    """

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, rank: int, world_size: int, seed: int, num_workers: int = 0
    ) -> None:
        size = _size(dataset)
        if batch_size > size:
            fault = f"is {batch_size}, but there are {size} training samples"
            raise InputError("--data.batch_size", fault, f"Choose at most {size}.")
        sampler = EpochSampler(size, batch_size, rank, world_size, shuffle=True, seed=seed)
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=_identity,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
        )
        self.epoch_sampler = sampler
        self.batches_yielded = 0  # in the current epoch, including those before a resumed run

    def __iter__(self) -> Any:
        """Yield the batches of the epoch, as a generator so that nothing is drawn before Lightning sets the epoch."""
        self.batches_yielded = self.epoch_sampler.first_batch
        for batch in super().__iter__():
            self.batches_yielded += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position of the next batch."""
        epoch = self.epoch_sampler.epoch
        if self.batches_yielded == len(self):
            return {"epoch": epoch + 1, "batch": 0}
        return {"epoch": epoch, "batch": self.batches_yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue at a stored position."""
        self.epoch_sampler.set_epoch(state["epoch"])
        self.epoch_sampler.first_batch = state["batch"]


class ResumableDataModule(LightningDataModule):
    """Datamodule that stores the position of its training loader in checkpoints.

    Lightning restores a loader's own state only if nothing has accessed the loader before, and schedules that need
    the number of steps do so. A datamodule's state is always restored.

    Attributes:
        samples_to_check: Samples of each split whose values are checked when it is opened.
    """

    samples_to_check: int = 2

    def __init__(self) -> None:
        super().__init__()
        self._position: dict[str, int] = {}
        self._loader: ResumableLoader | None = None

    def process(self) -> tuple[int, int]:
        """Return the rank of this process and the number of processes."""
        return process_of(self.trainer)

    def resumable_loader(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        kind: type[ResumableLoader] = ResumableLoader,
    ) -> ResumableLoader:
        """Return the training loader, at the position where a resumed run was interrupted."""
        self._loader = kind(dataset, batch_size, *self.process(), seed, num_workers)
        if self._position:
            self._loader.load_state_dict(self._position)
        return self._loader

    def state_dict(self) -> dict[str, int]:
        """Return the position of the next training batch."""
        return self._loader.state_dict() if self._loader is not None else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the position from a checkpoint, before the loader is created."""
        self._position = state_dict


class EvaluationSampler(DistributedSampler[int]):
    """Sample everything once over all processes in equal shares, padded with the index −1.

    Datasets return a sample of weight 0 for index −1, so that metrics stay exact although collectives need
    equal numbers of steps.
    """

    def __init__(self, size: int, rank: int, world_size: int) -> None:
        super().__init__(_numbers(size), world_size, rank, shuffle=False)
        self.size = size

    def __iter__(self) -> Iterator[int]:
        share = range(self.rank, self.num_samples * self.num_replicas, self.num_replicas)
        return iter([index if index < self.size else -1 for index in share])


def evaluation_loader(
    dataset: Dataset[Any],
    batch_size: int,
    rank: int,
    world_size: int,
    num_workers: int = 0,
    kind: type[DataLoader[Any]] = DataLoader,
) -> DataLoader[Any]:
    """Return a loader with an :class:`EvaluationSampler` for a dataset that has ``__getitems__``."""
    return kind(
        dataset,
        batch_size=batch_size,
        sampler=EvaluationSampler(_size(dataset), rank, world_size),
        num_workers=num_workers,
        collate_fn=_identity,
        pin_memory=torch.cuda.is_available(),
    )


def share_of(requests: Sequence[Request], rank: int, world_size: int, option: str) -> Sequence[Request]:
    """Return this process's share of the batches to predict: every n-th of n processes.

    Raises:
        InputError: There are fewer batches than processes. A process without work would not take part in the steps in
            which processes wait for each other.
    """
    if len(requests) < world_size:
        fault = f"gives {len(requests)} batches for {world_size} processes, which leaves some without work"
        raise InputError(option, fault, f"Pass --trainer.devices {max(1, len(requests))} or fewer.")
    return requests[rank::world_size]


class PrebatchedDataset(IterableDataset[Batch], Generic[Request, Batch]):
    """Load whole batches of this process for prediction, one per request, in order with any number of workers.

    Batches are formed before processes share them, so that the content of a batch does not depend on the number of
    processes. Use it with ``DataLoader(…, batch_size=None)``.

    Args:
        requests: One per batch of this process.
        load: Function that makes the batch of a request.
    """

    def __init__(self, requests: Sequence[Request], load: Callable[[Request], Batch]) -> None:
        self.requests, self.load = requests, load

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        return map(self.load, self.requests[first::step])


class EpochDataset(Protocol):
    """Dataset whose random augmentation depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random augmentation."""


class ReportingTrainLoader(ResumableLoader):
    """A :class:`ResumableLoader` that passes the epoch to its dataset, and lists the samples skipped in it."""

    def __iter__(self) -> Any:
        """Yield the batches of the epoch."""
        epoch, first = self.epoch_sampler.epoch, self.epoch_sampler.first_batch
        cast(EpochDataset, self.dataset).set_epoch(epoch)
        yield from _report_skipped(super().__iter__(), len(self) - first, self.dataset, f"epoch {epoch}")


class ReportingLoader(DataLoader[Any]):
    """Loader for evaluation or prediction that lists the samples skipped."""

    def __iter__(self) -> Any:
        """Yield all batches."""
        yield from _report_skipped(super().__iter__(), len(self), self.dataset, "evaluation")


def _report_skipped(loaded: Iterator[Any], num_batches: int, dataset: Any, when: str) -> Iterator[Any]:
    """Yield batches without their faults, which are logged with the last batch, or earlier if reading stops."""
    faults: list[str] = list(getattr(dataset, "left_out", ()))

    def report() -> None:
        if faults:
            logger.warning("%s: %d samples skipped:\n  %s", when, len(faults), "\n  ".join(faults))
            faults.clear()

    try:
        for number, batch in enumerate(loaded, start=1):
            faults += batch.pop("faults", ())
            if number >= num_batches:  # Lightning does not request more, so the end would not be reached
                report()
            yield batch
    finally:
        report()


def _size(dataset: Dataset[Any]) -> int:
    return len(cast(Sized, dataset))


def _numbers(size: int) -> Dataset[int]:
    """Return 0 … size − 1; DistributedSampler uses only the length of a dataset."""
    return cast("Dataset[int]", range(size))


def _identity(batch: Any) -> Any:
    """Collate function for datasets that return batches."""
    return batch
