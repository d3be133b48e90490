"""Progress of a command whose output is not a terminal: a line per minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from formats.progress import FIRST_SECONDS, ProgressClock, duration, progress_line

LARGEST_NUMBER_OF_METRICS = 4


class ProgressLines(Callback):
    """Print what is done, what is left, the rate and the task's metrics to standard error.

    The first line comes after five seconds, then one per minute. Nothing is printed where a progress bar is shown in a
    terminal.
    """

    def __init__(self) -> None:
        self._clock = ProgressClock()
        self._starts: dict[str, float] = {}
        self._done = self._done_before = 0
        self._has_printed = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._clock, self._has_printed = ProgressClock(), False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what an earlier run has done."""
        self._starts["fit"], self._done_before = time.monotonic(), _trained_batches(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line if one is due."""
        if not self._is_due(trainer):
            return
        done, in_epoch = _trained_batches(trainer), trainer.num_training_batches
        epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
        if epochs < 1 or in_epoch == float("inf"):  # trained by steps or without end
            self._print(f"fit: epoch {trainer.current_epoch}, step {trainer.global_step}{_metrics(trainer)}")
            return
        where = f"fit: epoch {trainer.current_epoch + 1} of {epochs}, batches"
        seconds = time.monotonic() - self._starts["fit"]
        line = progress_line(where, done, int(epochs * in_epoch), seconds, self._done_before)
        self._print(f"{line}{_metrics(trainer)}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close with the time it took, if it took long."""
        if self._has_printed:
            self._print(f"fit: {trainer.current_epoch} epochs in {duration(self._clock.seconds())}{_metrics(trainer)}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting the batches."""
        self._begin("validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting the batches."""
        self._begin("test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting the batches."""
        self._begin("predict")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Print a line if one is due."""
        self._count(trainer, "validate", trainer.num_val_batches)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Print a line if one is due."""
        self._count(trainer, "test", trainer.num_test_batches)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Print a line if one is due."""
        self._count(trainer, "predict", trainer.num_predict_batches)

    def _begin(self, stage: str) -> None:
        self._done, self._starts[stage] = 0, time.monotonic()

    def _count(self, trainer: Trainer, stage: str, batches: Sequence[int | float]) -> None:
        self._done += 1
        total = sum(batches)
        if trainer.state.fn == "fit" and time.monotonic() - self._starts[stage] < FIRST_SECONDS:
            return  # the line is left to training
        if total != float("inf") and self._is_due(trainer):
            seconds = time.monotonic() - self._starts[stage]
            self._print(f"{progress_line(f'{stage}: batches', self._done, int(total), seconds)}{_metrics(trainer)}")

    def _is_due(self, trainer: Trainer) -> bool:
        has_bar = trainer.progress_bar_callback is not None and sys.stdout.isatty()
        return trainer.is_global_zero and not has_bar and self._clock.is_due()

    def _print(self, line: str) -> None:
        self._has_printed = True
        print(line, file=sys.stderr, flush=True)


def _trained_batches(trainer: Trainer) -> int:
    """Return the training batches of all epochs so far, those before a resumed run included."""
    return int(trainer.fit_loop.total_batch_idx) + 1


def _metrics(trainer: Trainer) -> str:
    """Return the newest values of the metrics of the progress bar, or of the first logged ones."""
    values: Mapping[str, Any] = {
        name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"
    } or dict(trainer.callback_metrics)
    shown = [
        f", {name} {float(value):.4g}"
        for name, value in values.items()
        if isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    ]
    return "".join(shown[:LARGEST_NUMBER_OF_METRICS])
