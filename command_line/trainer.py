"""Lightning's Trainer with a precision that follows the hardware, and the record of a run's configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import lightning
import torch
from lightning import LightningModule
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import LearningRateMonitor, ModelSummary
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from callbacks.batch_description import BatchDescription
from callbacks.checkpoint_io import AtomicCheckpointIO
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.late_loggers import LateLoggers
from callbacks.progress_lines import ProgressLines
from callbacks.start_summary import StartSummary
from command_line.processor import bf16_instructions
from formats.finite import OnNonFinite

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]


class Trainer(lightning.Trainer):
    """Lightning's Trainer, with a precision chosen by the hardware, checkpoints that survive kills, and finite weights.

    The last step is always saved: where ``callbacks`` has no :class:`LastCheckpoint`, one is added. Loggers open their
    runs after data and model are set up, so that a refused command leaves no run behind.

    Args:
        precision: ``auto`` is bf16-mixed if the GPU, or without a GPU the processor, multiplies bf16 numbers; 16-mixed
            on older GPUs; and 32-true on other processors.
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
        self._late_loggers = LateLoggers()
        callbacks = [self._late_loggers, StartSummary(), FiniteCheck(on_nonfinite), *_as_list(kwargs.get("callbacks"))]
        callbacks.append(ProgressLines())
        if kwargs.get("logger") is False:  # the monitor would refuse to run
            callbacks = [part for part in callbacks if not isinstance(part, LearningRateMonitor)]
        if kwargs.get("enable_model_summary") is None:  # StartSummary says what users need of it
            kwargs["enable_model_summary"] = any(isinstance(part, ModelSummary) for part in callbacks)
        if describe_batch:
            callbacks.append(BatchDescription())
        if report:
            from callbacks.run_report import RunReport

            callbacks.append(RunReport())
        if kwargs.get("enable_checkpointing") is not False:
            callbacks = _with_default(callbacks, LastCheckpoint, LastCheckpoint)
        kwargs["callbacks"] = callbacks
        if precision == "auto":
            precision = hardware_precision(str(kwargs.get("accelerator", "auto")))
            if precision == "bf16-mixed" and not is_on_gpu(str(kwargs.get("accelerator", "auto"))):
                line = f"precision: bf16-mixed, since the processor has {bf16_instructions()}"
                rank_zero_info(f"{line}; --trainer.precision 32-true computes in float32")
        super().__init__(*args, precision=precision, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train; see Lightning's Trainer."""
        with self._late_loggers.held(self):
            super().fit(*args, **kwargs)

    def validate(self, *args: Any, **kwargs: Any) -> Any:
        """Validate; see Lightning's Trainer."""
        with self._late_loggers.held(self):
            return super().validate(*args, **kwargs)

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """Test; see Lightning's Trainer."""
        with self._late_loggers.held(self):
            return super().test(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict; see Lightning's Trainer."""
        with self._late_loggers.held(self):
            return super().predict(*args, **kwargs)


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [] if found is None else [found]


def _with_default(parts: list[Any], kind: type, default: Callable[[], Any]) -> list[Any]:
    """Return the parts, with a default unless one of its kind is there."""
    return parts if any(isinstance(part, kind) for part in parts) else [*parts, default()]


def is_on_gpu(accelerator: str) -> bool:
    """Return whether an accelerator, as named for the Trainer, is an NVIDIA or AMD GPU on this machine."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def hardware_precision(accelerator: str = "auto") -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return the precision that ``auto`` means on this machine with an accelerator, as named for the Trainer."""
    if not is_on_gpu(accelerator):
        is_on_processor = accelerator == "cpu" or (accelerator == "auto" and not torch.mps.is_available())
        return "bf16-mixed" if is_on_processor and bf16_instructions() else "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


class SaveConfig(SaveConfigCallback):
    """Save the configuration with the logs of a training run; other commands record theirs with their output."""

    def setup(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait until the loggers have opened their runs: what can be refused has not been before."""

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: LightningModule) -> None:
        """Write ``config.yaml``."""
        super().setup(trainer, pl_module, "fit")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: LightningModule) -> None:
        """Write ``config.yaml``, unless it has been written."""
        super().setup(trainer, pl_module, "fit")
