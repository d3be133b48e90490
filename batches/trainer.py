"""Typed access to Lightning's trainer: the rank of this process, and the datamodule."""

from __future__ import annotations

from typing import TypeVar

from lightning import LightningDataModule, LightningModule, Trainer

from formats.errors import InputError

T = TypeVar("T")


def process_of(trainer: Trainer | None) -> tuple[int, int]:
    """Return the rank of this process and the number of processes.

    ``items[rank::num_processes]`` is this process's share of the items.

    Args:
        trainer: The trainer; None, as in a datamodule used without one, is a single process.

    Example:
        >>> process_of(None)
        (0, 1)
    """
    return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)


def trainer_of(module: LightningModule | LightningDataModule) -> Trainer | None:
    """Return the trainer that a module or datamodule is attached to, or None.

    ``LightningModule.trainer`` raises if there is none.
    """
    try:
        return module.trainer
    except RuntimeError:
        return None


def datamodule_of(trainer: Trainer, kind: type[T]) -> T:
    """Return the trainer's datamodule.

    Args:
        trainer: The trainer.
        kind: The class, or a runtime-checkable protocol, that the datamodule must be an instance of.

    Raises:
        InputError: The trainer has no datamodule, or one of another class.
    """
    datamodule = getattr(trainer, "datamodule", None)
    if not isinstance(datamodule, kind):
        name = type(datamodule).__name__ if datamodule is not None else "no datamodule"
        raise InputError("--data", f"{name} cannot be used here", f"Use {kind.__name__}.")
    return datamodule
