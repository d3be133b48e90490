"""Checkpoint of the last step, from which a run that ended in any way goes on."""

from __future__ import annotations

import copy
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.types import STEP_OUTPUT

from callbacks.stop_signals import REQUEUE, STOP, StopSignals
from formats.atomic import remove_unfinished
from formats.errors import check_settings


class LastCheckpoint(ModelCheckpoint):
    """Save ``last.ckpt`` in the run's folder: every few minutes, after epochs, and when training ends or is stopped.

    SIGTERM, SIGHUP and Ctrl-C save after the current step, or at once during a validation, and exit with 128 plus the
    signal's number; Slurm's signal also requeues the job. With several processes the validation is completed first.

    Args:
        every_minutes: Maximum time of training that a kill loses.
        every_n_epochs: Save after every n-th epoch.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(self, every_minutes: float = 10.0, every_n_epochs: int = 1) -> None:
        check_settings(
            {
                "LastCheckpoint.every_minutes": ("positive", every_minutes > 0),
                "LastCheckpoint.every_n_epochs": ("at least 1", every_n_epochs >= 1),
            }
        )
        super().__init__(save_top_k=0)  # nothing is saved by Lightning's own rules
        self.every_minutes, self.epochs_between = every_minutes, every_n_epochs
        self.signals = StopSignals()
        self._path = ""
        self._step = self._saved_step = 0
        self._saved_at = 0.0
        self._is_in_step = self._was_asked_to_stop = False
        self._progress: dict[str, Any] = {}  # of the loops after the last step
        self._stored_progress: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: a resumed run starts with its own folder and clock."""
        return {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the file's name, and start to listen for signals."""
        assert self.dirpath is not None
        self._path = trainer.strategy.broadcast(str(_unused_path(Path(self.dirpath), trainer.ckpt_path)))
        self._step = self._saved_step = trainer.global_step
        self._saved_at = time.monotonic()
        self._is_in_step = self._was_asked_to_stop = False
        if trainer.is_global_zero:
            for folder in Path(self.dirpath).parent.parent.glob("*/checkpoints"):
                remove_unfinished(folder)
        self.signals.install()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember that weights are about to change."""
        self._is_in_step = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to, if training ends within the epoch, or on a signal."""
        if trainer.global_step == self._step:  # gradients are still being accumulated, and checkpoints lack them
            return
        self._step, self._is_in_step = trainer.global_step, False
        self._progress = copy.deepcopy(trainer.fit_loop.state_dict())
        ends = trainer.global_step == trainer.max_steps or (trainer.should_stop and not self._was_asked_to_stop)
        self._was_asked_to_stop = trainer.should_stop
        is_due = time.monotonic() - self._saved_at >= 60 * self.every_minutes or self.signals.received is not None
        if trainer.strategy.reduce_boolean_decision(is_due, all=False) or ends:
            self._save(trainer)
            self._stop_on_signal(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save on a signal; the resumed run goes on after the last training step."""
        if self.signals.received is not None and trainer.world_size == 1:
            self._save(trainer, after_step=True)
            self._stop_on_signal(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after every n-th epoch; where training ends within one, the resumed run goes on within it."""
        if not trainer.is_last_batch:
            if self._saved_step != trainer.global_step:
                self._save(trainer, after_step=True)
        elif (trainer.current_epoch + 1) % self.epochs_between == 0:
            self._save(trainer)
        self._stop_on_signal(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last step if no rule has saved it yet."""
        if self._saved_step != trainer.global_step:
            self._save(trainer)
        self.signals.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if a signal was pending, for example while the next batch was loaded."""
        if self.signals.received is not None and not self._is_in_step and self._saved_step != trainer.global_step:
            self._save(trainer, after_step=True)
            self._announce(trainer, self.signals.received)
        self.signals.remove()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the progress after the last step where the loops have gone on, for example to half a validation."""
        if self._stored_progress is not None:
            checkpoint["loops"] = {**checkpoint["loops"], "fit_loop": self._stored_progress}

    def _save(self, trainer: Trainer, after_step: bool = False) -> None:
        """Save; ``after_step`` stores the progress after the last training step rather than the current one."""
        if _is_trial(trainer):
            return
        self._stored_progress = self._progress if after_step else None
        try:
            trainer.save_checkpoint(self._path, weights_only=False)
        finally:
            self._stored_progress = None
        self.last_model_path = self._path
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def _stop_on_signal(self, trainer: Trainer) -> None:
        """End the run if any process has received a signal."""
        decide = trainer.strategy.reduce_boolean_decision
        received = [number for number in (*REQUEUE, *STOP) if decide(self.signals.received == number, all=False)]
        if not received:
            return
        if self._saved_step != trainer.global_step:
            self._save(trainer)
        self._announce(trainer, received[0])
        if received[0] in REQUEUE:
            self.signals.requeue(received[0])
        # The launcher kills all processes as soon as one that it started exits with another status than 0.
        raise SystemExit(128 + received[0] if trainer.is_global_zero else 0)

    def _announce(self, trainer: Trainer, number: signal.Signals) -> None:
        rest = "" if _is_trial(trainer) else f"; go on with --ckpt_path {self._path}"
        if trainer.is_global_zero:
            print(f"{number.name}: stopped after step {trainer.global_step}{rest}", file=sys.stderr, flush=True)


def _is_trial(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))  # Lightning sets it without declaring it


def _unused_path(folder: Path, resumed: str | Path | None) -> Path:
    """Return ``last.ckpt``, or ``last-v1.ckpt`` and so on where another run's checkpoint has that name."""
    path, number = folder / "last.ckpt", 0
    while path.exists() and not (resumed and path.resolve() == Path(resumed).resolve()):
        number += 1
        path = folder / f"last-v{number}.ckpt"
    return path
