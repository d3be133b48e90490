"""Lightning's Trainer with a precision that follows the hardware, and the record of a run's configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import lightning
import torch
from lightning import LightningModule
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.cli import SaveConfigCallback

from callbacks.batch_description import BatchDescription
from callbacks.checkpoint_io import AtomicCheckpointIO
from callbacks.last_checkpoint import LastCheckpoint
from formats.finite import OnNonFinite

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]


class Trainer(lightning.Trainer):
    """Lightning's Trainer, with a precision chosen by the hardware, checkpoints that survive kills, and finite weights.

    The last step is always saved: where ``callbacks`` has no :class:`LastCheckpoint`, one is added.

    Args:
        precision: ``auto`` is bf16-mixed if the GPU supports it, 16-mixed on older GPUs, and 32-true
            without a GPU.
        on_nonfinite: What to do where a loss or gradient is NaN or infinite: ``raise`` stops with an error that names
            samples, losses and parts of the network; ``skip`` leaves out the training step and counts it.
        describe_batch: Print the first training batch: keys, shapes, types and ranges, with the valid share of masks.
        report: End ``fit``, ``test`` and ``predict`` with ``report.html``, a page with settings, curves and results.
    """

    def __init__(
        self,
        *args: Any,
        precision: Precision = "auto",
        on_nonfinite: OnNonFinite = "raise",
        describe_batch: bool = False,
        report: bool = True,
        **kwargs: Any,
    ) -> None:
        from callbacks.finite_check import FiniteCheck  # it imports the tasks, which `fit --help` does not need

        kwargs["plugins"] = _with_default(_as_list(kwargs.get("plugins")), CheckpointIO, AtomicCheckpointIO)
        callbacks = [FiniteCheck(on_nonfinite), *_as_list(kwargs.get("callbacks"))]
        if describe_batch:
            callbacks.append(BatchDescription())
        if report:
            from callbacks.run_report import RunReport

            callbacks.append(RunReport())
        if kwargs.get("enable_checkpointing") is not False:
            callbacks = _with_default(callbacks, LastCheckpoint, LastCheckpoint)
        kwargs["callbacks"] = callbacks
        super().__init__(*args, precision=hardware_precision() if precision == "auto" else precision, **kwargs)


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [] if found is None else [found]


def _with_default(parts: list[Any], kind: type, default: Callable[[], Any]) -> list[Any]:
    """Return the parts, with a default unless one of its kind is there."""
    return parts if any(isinstance(part, kind) for part in parts) else [*parts, default()]


def hardware_precision() -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the precision that ``auto`` means on this machine."""
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


class SaveConfig(SaveConfigCallback):
    """Save the configuration with the logs of a training run; other commands record theirs with their output."""

    def setup(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml`` once per run."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)
