"""Training step that logs the losses of all processes, and keeps them for the check of non-finite values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from batches.trainer import trainer_of
from formats.finite import check_finite_checkpoint
from lightning_modules.training_record import CHECKPOINT_KEY as RECORD_KEY
from lightning_modules.training_record import TrainingRecord
from losses.processes import Processes

NONFINITE = "nonfinite"  # loss term that counts values which the loss replaced since they are not finite
GRADIENT_NORMS = "grad_norm/"  # what their logged names begin with
MOST_LISTED = 10  # parameters that are listed with the largest gradients
GradientNorms = Literal["none", "parts", "full"]


class LargestNorm(NamedTuple):
    """Largest gradient norm of a parameter in a run, and its training step, from 1."""

    norm: float
    step: int


class TrainingSteps(LightningModule):
    """Train on the terms of :meth:`losses`, averaged over all processes.

    Norms of gradients before clipping are logged as the setting ``log_gradients`` of the module says: ``parts`` logs
    that of each part of the network, ``full`` also that of each parameter, and lists the ten largest of the run at its
    end.

    Attributes:
        step_batch: Batch of the last step, with its random numbers.
        step_terms: Losses of the last step by name, equal on all processes in training.
        trained_on: Data of the training that the weights come from, if it is on record.
        largest_gradients: With ``log_gradients`` full, the largest gradient norm so far, by parameter.
    """

    OBJECTIVE: ClassVar[str] = "loss"  # the term to minimise

    network: Any

    def __init__(self) -> None:
        super().__init__()
        self.step_batch: Any = None
        self.step_terms: dict[str, Tensor] = {}
        self.largest_gradients: dict[str, LargestNorm] = {}
        self.trained_on: TrainingRecord | None = None

    def losses(self, batch: Any, processes: Processes = Processes()) -> dict[str, Tensor]:
        """Compute all terms of a batch, scalars by name; their mean over the processes is that of the whole batch."""
        raise NotImplementedError

    def with_random_numbers(self, batch: Any) -> Any:
        """Add the random numbers of a training step to the batch, a row for each sample; none by default."""
        return batch

    def rows(self, batch: Any) -> list[Any]:
        """Return the samples of a batch as batches of one sample."""
        size = _batch_size(batch)
        per_sample = {
            name: value for name, value in batch.items() if isinstance(value, Tensor | list) and len(value) == size
        }
        return [{name: value[row : row + 1] for name, value in per_sample.items()} for row in range(size)]

    def shard(self, blocks: Iterable[nn.Module]) -> None:
        """Shard the parameters over the devices of each machine, if the strategy is ``ModelParallelStrategy``.

        Args:
            blocks: Parts of the network whose parameters are gathered together, one part after another; the rest is
                gathered for the whole step.
        """
        if self.device_mesh is None:
            return
        # In the mesh of machines × devices, parameters are copied to all machines and sharded over their devices.
        for part in (*blocks, self.network):
            fully_shard(part, mesh=self.device_mesh)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose weights are not finite.

        Raises:
            InputError: A weight is NaN or infinite; or, to continue training, a value in the optimiser's state.
        """
        trainer = trainer_of(self)
        where = str(trainer.ckpt_path) if trainer is not None and trainer.ckpt_path else "checkpoint"
        resumes = trainer is not None and trainer.state.fn == "fit"
        remedy = "Use an earlier checkpoint, or train again with a lower learning rate."
        check_finite_checkpoint(where, checkpoint, resumes, remedy)
        self.trained_on = TrainingRecord.from_checkpoint(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the data of the training."""
        trainer = trainer_of(self)
        if trainer is not None and trainer.state.fn == "fit":
            self.trained_on = TrainingRecord.of(trainer)
        if self.trained_on is not None:
            checkpoint[RECORD_KEY] = asdict(self.trained_on)

    def log_losses(self, terms: Mapping[str, Tensor], batch_size: int) -> None:
        """Log the losses of a training step."""
        self.log_dict({f"train/{name}": value for name, value in terms.items()}, batch_size=batch_size)
        self.log(self.OBJECTIVE.removeprefix("loss_"), terms[self.OBJECTIVE], prog_bar=True, logger=False)

    @property
    def fused_optimizer(self) -> bool | None:
        """Whether the optimiser updates all weights in one kernel, which also saves a copy of them.

        On GPUs, except with 16-mixed, where Lightning cannot clip the gradients of such an optimiser. None leaves the
        choice between a loop and batched kernels to torch.
        """
        return True if self.device.type == "cuda" and self.trainer.precision != "16-mixed" else None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the objective of a batch, and log every term as its mean over the processes."""
        processes = Processes.all()
        self.step_batch = self.with_random_numbers(batch)
        terms = self.losses(self.step_batch, processes)
        values = processes.sum(torch.stack([value.detach() for value in terms.values()])) / processes.size
        self.step_terms = dict(zip(terms, values.unbind(), strict=True))
        self.log_losses(self.step_terms, _batch_size(batch))
        return terms[self.OBJECTIVE]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log gradient norms before clipping, at the steps that are logged."""
        detail, step = self.hparams.get("log_gradients", "none"), self.trainer.global_step
        every: int = getattr(self.trainer, "log_every_n_steps", 1)  # Lightning sets it without declaring it
        if detail == "none" or (step + 1) % every:
            return
        gradients = {name: part.grad for name, part in self.network.named_parameters() if part.grad is not None}
        parts: dict[str, list[Tensor]] = {}
        for name, gradient in gradients.items():
            parts.setdefault(name.partition(".")[0], []).append(gradient)
        for part, members in parts.items():
            self.log(GRADIENT_NORMS + part, whole_tensor(get_total_norm(members)))
        if detail == "full" and gradients:
            norms = torch.stack([whole_tensor(gradient.norm()) for gradient in gradients.values()]).tolist()
            named = dict(zip(gradients, norms, strict=True))
            for name, norm in named.items():
                largest = self.largest_gradients.get(name)
                if largest is None or not norm <= largest.norm:  # NaN counts as the largest
                    self.largest_gradients[name] = LargestNorm(norm, step + 1)
            # Past `self.log`, which would take longer than a step for a thousand names.
            for logger in self.loggers:
                logger.log_metrics({GRADIENT_NORMS + name: norm for name, norm in named.items()}, step)

    def most_gradients(self) -> list[tuple[str, LargestNorm]]:
        """Return the ten parameters with the largest gradient norms of the run, in descending order."""
        found = sorted(self.largest_gradients.items(), key=_norm_or_infinite, reverse=True)
        return found[:MOST_LISTED]

    def on_train_end(self) -> None:
        """List the largest gradients."""
        if self.largest_gradients:
            lines = [f"  {norm:<9.3g} {name}, step {step}" for name, (norm, step) in self.most_gradients()]
            self.print("\n".join(["largest gradient norms by parameter:", *lines]))

    def sample_generators(self, seed: int, count: int) -> list[torch.Generator]:
        """Return a generator for each sample of this training step, on the module's device.

        It is seeded by the seed, the number of batches so far and the sample's place in the batch of all processes,
        so that random numbers depend neither on the number of processes nor on where a run was interrupted.
        """
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx
        first = self.trainer.global_rank * count
        keys = [
            np.random.SeedSequence((seed, step, first + row)).generate_state(1, np.uint64)[0] for row in range(count)
        ]
        return [torch.Generator(self.device).manual_seed(int(key >> 1)) for key in keys]


def _norm_or_infinite(item: tuple[str, LargestNorm]) -> float:
    norm = item[1].norm
    return math.inf if math.isnan(norm) else norm


def whole_tensor(value: Tensor) -> Tensor:
    """Return a tensor of which each process may hold a part; all processes must make the call."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _batch_size(batch: Mapping[str, Any]) -> int:
    return next(len(value) for value in batch.values() if isinstance(value, Tensor))
