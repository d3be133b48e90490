"""Orders of reading that depend on seeds alone: not on workers, processes, or where a run was interrupted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, TypeVar

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from formats.errors import InputError

logger = logging.getLogger(__name__)
Request = TypeVar("Request")
Batch = TypeVar("Batch")
Made = TypeVar("Made")
OnError = Literal["raise", "skip"]


class EpochSampler(DistributedSampler):
    """This process's share of an epoch, in an order drawn from the seed and the epoch.

    The global order is cut into global batches before processes take their shares, so that the set of samples
    in a step does not depend on the number of processes. Samples beyond the last whole global batch are left
    out of the epoch; a data set smaller than one batch is repeated to fill it.
    """

    def __init__(self, size: int, batch_size: int, rank: int, world_size: int, shuffle: bool, seed: int) -> None:
        super().__init__(range(size), world_size, rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.size, self.batch_size = size, batch_size
        self.batches = max(1, size // (batch_size * world_size))
        self.first_batch = 0

    def __len__(self) -> int:
        """Samples of this process in a whole epoch, also where the epoch was entered midway."""
        return self.batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; another epoch than the resumed one starts at its beginning."""
        if epoch != self.epoch:
            self.first_batch = 0
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
        needed = self.batches * self.batch_size * self.num_replicas
        order = order.repeat(-(-needed // self.size))[:needed].view(self.batches, self.num_replicas, -1)
        yield from order[self.first_batch :, self.rank].flatten().tolist()


class ResumableLoader(DataLoader):
    """A training loader that goes on with the next batch of an interrupted epoch; see :class:`ResumableDataModule`.

    Args:
        dataset: With ``__getitems__(indices) -> batch``, so that a batch is cut out at once.
        batch_size: Samples per process and step.
        rank: Number of this process.
        world_size: Number of processes.
        seed: Of the order.
        num_workers: Worker processes; 0 is fastest where a batch is a memory copy.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, rank: int, world_size: int, seed: int, num_workers: int = 0
    ) -> None:
        size = len(dataset)  # type: ignore[arg-type]
        sampler = EpochSampler(size, batch_size, rank, world_size, shuffle=True, seed=seed)
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=_keep,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
        )
        self.given = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator, so that nothing is drawn before Lightning has set the epoch.
        self.given = self.sampler.first_batch  # type: ignore[attr-defined]
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next batch stands."""
        epoch = self.sampler.epoch  # type: ignore[attr-defined]
        if self.given == len(self):
            return {"epoch": epoch + 1, "batch": 0}
        return {"epoch": epoch, "batch": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a stored place."""
        self.sampler.set_epoch(state["epoch"])  # type: ignore[attr-defined]
        self.sampler.first_batch = state["batch"]  # type: ignore[attr-defined]


class ResumableDataModule(LightningDataModule):
    """A datamodule that keeps the place of its training loader in checkpoints.

    Lightning restores a loader's own state only where nothing asked for the loader before, and schedules that
    need the number of steps do; a datamodule's state it restores always.
    """

    def __init__(self) -> None:
        super().__init__()
        self._place: dict[str, int] = {}
        self._loader: ResumableLoader | None = None

    def process(self) -> tuple[int, int]:
        """Number of this process, and of all processes."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def resumable_loader(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        num_workers: int = 0,
        kind: type[ResumableLoader] = ResumableLoader,
    ) -> ResumableLoader:
        """The training loader, at the place where a resumed run left it."""
        self._loader = kind(dataset, batch_size, *self.process(), seed, num_workers)
        if self._place:
            self._loader.load_state_dict(self._place)
        return self._loader

    def state_dict(self) -> dict[str, int]:
        """Where the next training batch stands."""
        return self._loader.state_dict() if self._loader is not None else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the place from a checkpoint, before the loader is made."""
        self._place = state_dict


class EvaluationSampler(DistributedSampler):
    """Every sample once over all processes, in equal shares; what is missing to equal shares is index −1.

    Data sets answer index −1 with a sample of weight 0, so that metrics stay exact where collectives need
    equal numbers of steps.
    """

    def __init__(self, size: int, rank: int, world_size: int) -> None:
        super().__init__(range(size), world_size, rank, shuffle=False)  # type: ignore[arg-type]
        self.size = size

    def __iter__(self) -> Iterator[int]:
        share = range(self.rank, self.num_samples * self.num_replicas, self.num_replicas)
        return iter([index if index < self.size else -1 for index in share])


def evaluation_loader(
    dataset: Dataset,
    batch_size: int,
    rank: int,
    world_size: int,
    num_workers: int = 0,
    kind: type[DataLoader] = DataLoader,
) -> DataLoader:
    """A loader over :class:`EvaluationSampler` for a data set with ``__getitems__``."""
    size = len(dataset)  # type: ignore[arg-type]
    return kind(
        dataset,
        batch_size=batch_size,
        sampler=EvaluationSampler(size, rank, world_size),
        num_workers=num_workers,
        collate_fn=_keep,
        pin_memory=torch.cuda.is_available(),
    )


class WholeBatches(IterableDataset, Generic[Request, Batch]):
    """This process's batches for prediction, each loaded whole and in order, whatever the number of workers.

    Batches are cut before processes share them, so that a batch has the same content, and gives the same
    bytes, under any number of processes.

    Args:
        requests: One per batch of this process.
        load: Makes the batch of a request.
    """

    def __init__(self, requests: Sequence[Request], load: Callable[[Request], Batch]) -> None:
        self.requests, self.load = requests, load

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        return map(self.load, self.requests[first::step])


def readable_error(load: Callable[[], Made]) -> Made | InputError:
    """Load a batch for a :class:`ReportingLoader`, in a worker process returning an InputError instead of raising it.

    PyTorch would turn it into a RuntimeError with a traceback; the loader raises it as it is.
    """
    try:
        return load()
    except InputError as fault:
        if get_worker_info() is None:
            raise
        return fault


class ReportingTrainLoader(ResumableLoader):
    """A :class:`ResumableLoader` that tells its data set the epoch, and lists what was skipped in it."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        epoch, first = self.sampler.epoch, self.sampler.first_batch  # type: ignore[attr-defined]
        self.dataset.set_epoch(epoch)  # type: ignore[attr-defined]
        yield from _reported(super().__iter__(), len(self) - first, self.dataset, f"epoch {epoch}")


class ReportingLoader(DataLoader):
    """A loader of evaluation or prediction that lists what was skipped."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from _reported(super().__iter__(), len(self), self.dataset, "evaluation")


def _reported(loaded: Iterator[Any], batches: int, dataset: Any, when: str) -> Iterator[Any]:
    """Batches without their faults, which are listed when the last batch is given, or reading stops before."""
    faults: list[str] = list(getattr(dataset, "left_out", ()))

    def report() -> None:
        if faults:
            logger.warning("%s: %d samples skipped:\n  %s", when, len(faults), "\n  ".join(faults))
            faults.clear()

    try:
        for number, batch in enumerate(loaded, start=1):
            if isinstance(batch, InputError):
                # A new one: with this one, its traceback would hold the worker processes, and be held by them.
                raise InputError(*batch.args)
            faults += batch.pop("faults", ())
            if number >= batches:  # Lightning does not ask for more, so that the end would not be reached
                report()
            yield batch
    finally:
        report()


def _keep(batch: Any) -> Any:
    """Collate function for batches that come whole."""
    return batch
