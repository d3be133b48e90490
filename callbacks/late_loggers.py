"""Loggers that open their runs after the checks of data and model, rather than before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler, Profiler


class LateLoggers(Callback):
    """Keep the loggers away from the trainer until its datamodule is set up.

    Lightning opens the run of every logger before it sets up the data: a command that is refused for its data would
    leave empty folders and a W&B run. Without loggers at that moment, Lightning opens each run when the first value is
    logged, which is after the model is configured and a checkpoint restored. This callback must be the first one.
    """

    def __init__(self) -> None:
        self._loggers: list[Logger] = []

    @contextmanager
    def held(self, trainer: Trainer) -> Iterator[None]:
        """Take the loggers away until ``setup``, or until the command is refused."""
        profiler = getattr(trainer, "profiler", None)  # Lightning sets it without declaring it
        if isinstance(profiler, Profiler) and not isinstance(profiler, PassThroughProfiler) and not profiler.dirpath:
            profiler.dirpath = trainer.log_dir  # it would take the folder from the loggers
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger | TensorBoardLogger):
                _ = logger.version  # the same of all, before the first makes its folder
        self._loggers, trainer.loggers = trainer.loggers, []
        try:
            yield
        finally:
            self._give_back(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the loggers back; checkpoints need the name of the first one's run, which a server may choose."""
        self._give_back(trainer)
        first = trainer.loggers[0] if trainer.loggers else None
        if first is not None and not isinstance(first, CSVLogger | TensorBoardLogger):
            _ = getattr(first, "experiment", None)

    def _give_back(self, trainer: Trainer) -> None:
        if self._loggers:
            self._loggers, trainer.loggers = [], self._loggers
