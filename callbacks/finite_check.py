"""Stops training, or skips a step, where a loss or gradient is NaN or infinite."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from batches.names import sample_names
from formats.errors import InputError
from formats.finite import OnNonFinite, check_finite_checkpoint, nonfinite_names, shortlist
from lightning_modules.training_steps import NONFINITE, TrainingSteps, whole_tensor

MAX_SKIPPED_IN_A_ROW = 10
LARGE = 1e6  # inputs are of the order of 1 to 1000; larger ones are named with a non-finite loss
REMEDY = (
    "Check the data with `python cli.py prepare check-data --config …`, lower the learning rate, or pass "
    "--trainer.on_nonfinite skip to leave out such steps; see docs/troubleshooting.md."
)
_GRADIENT, _LOSS = 1, 2  # codes of faults; a larger one covers the smaller
logger = logging.getLogger(__name__)


class FiniteCheck(Callback):
    """Find a loss or gradient that is not finite before the optimiser uses it.

    Losses and the norm of all gradients are tested on the device, and the result, one number, is the only value that
    a step copies to the host. Several processes agree on it by one more all-reduce of that number, so that all of them
    stop, or skip, the same step. Only then are the samples tried one by one, to name them.

    Validation and test losses are checked after every batch. Checkpoints with non-finite values are never written:
    the last good one stays.

    Args:
        on_nonfinite: ``raise`` stops the run. ``skip`` leaves out the step, counts it (``train/skipped_steps``) and
            goes on; it stops after 10 steps in a row, and where weights are not finite.
    """

    def __init__(self, on_nonfinite: OnNonFinite = "raise") -> None:
        if on_nonfinite not in ("raise", "skip"):
            raise InputError("--trainer.on_nonfinite", f"is '{on_nonfinite}'", "Choose raise or skip.")
        self.on_nonfinite = on_nonfinite
        self.skipped = self.skipped_in_a_row = 0
        self._losses: list[Tensor] = []  # of the batches since the last optimiser step

    def state_dict(self) -> dict[str, int]:
        """Return the number of skipped steps."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the number of skipped steps."""
        self.skipped = state_dict["skipped"]

    # --- training ---

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the losses of a batch."""
        self._losses.append(_summary(pl_module, loss))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check losses and gradients, before they are clipped.

        Raises:
            InputError: A loss or gradient is not finite, and steps are not skipped.
        """
        losses, self._losses = torch.stack(self._losses).isfinite().all(), []
        gradients = [part.grad for group in optimizer.param_groups for part in group["params"] if part.grad is not None]
        norm = whole_tensor(get_total_norm(gradients)) if gradients else torch.zeros(())
        fault = _agreed(
            trainer, torch.where(losses, 0, _LOSS) + torch.where(norm.isfinite().to(losses.device), 0, _GRADIENT)
        )
        if fault == 0:
            self.skipped_in_a_row = 0
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if fault < _LOSS and scaler is not None and scaler.get_scale() > 1:
            return  # 16-mixed lowers its scale until gradients are finite, and skips the step itself
        text = _shared(trainer, _description(trainer, pl_module))
        where = f"training step {trainer.global_step + 1}"
        self.skipped_in_a_row += 1
        if (
            _nonfinite_weights(pl_module)
            or self.on_nonfinite == "raise"
            or self.skipped_in_a_row > MAX_SKIPPED_IN_A_ROW
        ):
            raise InputError(where, text, REMEDY)
        self.skipped += 1
        optimizer.zero_grad(set_to_none=True)  # without gradients, the optimiser changes neither weights nor its state
        if trainer.is_global_zero:
            logger.warning("%s is skipped: %s", where, text)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the number of skipped steps."""
        if self.skipped:
            pl_module.log("train/skipped_steps", float(self.skipped), batch_size=1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the number of skipped steps."""
        if self.skipped and trainer.is_global_zero:
            logger.warning("%d training steps were skipped, as their loss or gradient was not finite", self.skipped)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save values that are not finite.

        Raises:
            InputError: A weight, or a value in the optimiser's state, is NaN or infinite.
        """
        remedy = "Continue from the last one with a lower learning rate."
        check_finite_checkpoint(f"checkpoint at step {trainer.global_step}", checkpoint, True, remedy)

    # --- evaluation ---

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Check the losses of a validation batch.

        Raises:
            InputError: A loss is not finite, and steps are not skipped.
        """
        self._check_evaluation(trainer, pl_module, f"validation batch {batch_idx + 1}")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Check the losses of a test batch, as in validation."""
        self._check_evaluation(trainer, pl_module, f"test batch {batch_idx + 1}")

    def _check_evaluation(self, trainer: Trainer, pl_module: LightningModule, where: str) -> None:
        if not isinstance(pl_module, TrainingSteps) or not pl_module.step_terms:
            return
        summary = _summary(pl_module, torch.zeros((), device=pl_module.device))
        if _agreed(trainer, torch.where(summary.isfinite(), 0, _LOSS)):
            text = _shared(trainer, _description(trainer, pl_module, with_gradients=False))
            if self.on_nonfinite == "raise":
                raise InputError(where, text, REMEDY)
            if trainer.is_global_zero:
                logger.warning("%s: %s", where, text)


def _summary(module: LightningModule, loss: Tensor) -> Tensor:
    """Return a number that is finite if all losses of the module's last step are."""
    if not isinstance(module, TrainingSteps) or not module.step_terms:
        return loss.detach().float()
    # A loss that replaces non-finite values counts them; a positive count is as bad as a loss that is NaN.
    values = [
        torch.where(value > 0, torch.nan, value) if name == NONFINITE else value
        for name, value in module.step_terms.items()
    ]
    return torch.stack(values).float().abs().sum()


def _agreed(trainer: Trainer, code: Tensor) -> int:
    """Return the largest code of all processes."""
    if trainer.world_size > 1:
        dist.all_reduce(code, dist.ReduceOp.MAX)
    return int(code)


def _shared(trainer: Trainer, text: str) -> str:
    """Return the texts of all processes, without repetitions."""
    if trainer.world_size == 1:
        return text
    texts: list[Any] = [None] * trainer.world_size
    dist.all_gather_object(texts, text)
    return "; ".join(dict.fromkeys(part for text in texts for part in text.split("; ")))


def _description(trainer: Trainer, module: LightningModule, with_gradients: bool = True) -> str:
    """Describe what is not finite: samples with their losses and inputs, parts of the network with their gradients."""
    parts = []
    if isinstance(module, TrainingSteps):
        parts += _terms(module.step_terms)
        parts += _samples(trainer, module)
    if with_gradients:
        gradients = {name: part.grad for name, part in module.named_parameters() if part.grad is not None}
        sizes = [whole_tensor(gradient.norm()) for gradient in gradients.values()]
        wrong = nonfinite_names(dict(zip(gradients, sizes, strict=True)))
        parts += [f"the gradient is not finite in {shortlist(_network_parts(wrong))}"] if wrong else []
    weights = _nonfinite_weights(module)
    parts += [f"weights are not finite in {shortlist(_network_parts(weights))}"] if weights else []
    return "; ".join(parts) or "the loss is not finite"


def _nonfinite_weights(module: LightningModule) -> list[str]:
    """Return the names of the parameters that are not finite; several processes must all make the call."""
    largest = {
        name: whole_tensor(torch.linalg.vector_norm(part.detach(), torch.inf))
        for name, part in module.named_parameters()
    }
    return nonfinite_names(largest)


def _terms(terms: Mapping[str, Tensor]) -> list[str]:
    wrong = nonfinite_names(terms)
    replaced = NONFINITE in terms and bool(terms[NONFINITE] > 0)
    return ([f"{shortlist(wrong)} is not finite"] if wrong else []) + (
        ["predictions are not finite"] if replaced else []
    )


@torch.no_grad()
def _samples(trainer: Trainer, module: TrainingSteps) -> list[str]:
    """Compute the losses of each sample of the last batch, and describe those that are not finite."""
    names, parts = sample_names(module.step_batch), []
    rows = module.rows(module.step_batch)
    for name, row in zip(names, rows, strict=False):
        with trainer.precision_plugin.forward_context():
            wrong = _terms(module.losses(row))
        inputs = [
            f"its {key} reach {float(value.abs().max()):.3g}"
            for key, value in row.items()
            if isinstance(value, Tensor) and value.is_floating_point() and not bool((value.abs() <= LARGE).all())
        ]
        if wrong:
            parts.append(f"sample {name}: {', '.join([*wrong, *inputs])}")
    if len(parts) == len(rows) and len(rows) > 1:
        return [f"samples of the batch: {shortlist(names)}"]
    return parts


def _network_parts(names: list[str]) -> list[str]:
    """Return the parts of the network, such as ``blocks.3`` or ``camera_head``, of parameter names.

    Example:
        >>> _network_parts(["network.blocks.3.attn.qkv.weight", "network.blocks.3.mlp.bias", "network.head.bias"])
        ['blocks.3', 'head']
    """
    found = []
    for name in names:
        first, *rest = name.removeprefix("network.").split(".")
        found.append(f"{first}.{rest[0]}" if rest and rest[0].isdigit() else first)
    return list(dict.fromkeys(found))
