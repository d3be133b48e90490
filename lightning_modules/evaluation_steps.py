"""Validation and test steps that accumulate losses and metrics over an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torchmetrics import MeanMetric, Metric

from lightning_modules.training_steps import TrainingSteps


class EvaluationSteps(TrainingSteps):
    """Log the same losses and metrics in validation and test, as ``val/…`` and ``test/…``, over all processes."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_means: dict[str, MeanMetric] = {}

    def evaluate(self, batch: Any) -> None:
        """Add a batch to the losses, with :meth:`add_losses`, and to the metrics."""
        raise NotImplementedError

    def metrics(self) -> Sequence[Metric]:
        """Metrics whose ``compute`` returns numbers by name."""
        raise NotImplementedError

    def add_losses(self, terms: Mapping[str, Tensor], images: Tensor) -> None:
        """Add the losses of a batch.

        Args:
            terms: Scalars by name, each a mean over the images of the batch.
            images: Number of these images.
        """
        self.step_terms = {name: value.detach() for name, value in terms.items()}
        for name, value in terms.items():
            if name not in self.loss_means:
                self.loss_means[name] = MeanMetric(nan_strategy="disable").to(self.device)
            self.loss_means[name].update(value, images)

    def _log_evaluation(self, stage: str) -> None:
        numbers = {f"{stage}/{name}": mean.compute() for name, mean in self.loss_means.items()}
        for metric in self.metrics():
            numbers |= {f"{stage}/{name}": value for name, value in metric.compute().items()}
        for metric in (*self.metrics(), *self.loss_means.values()):
            metric.reset()
        # Already computed over all processes.
        self.log_dict({name: value.float() for name, value in numbers.items()}, rank_zero_only=False, sync_dist=False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the losses and metrics."""
        self.step_batch = batch
        self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log losses and metrics as ``val/…``."""
        self._log_evaluation("val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Add a batch to the losses and metrics."""
        self.step_batch = batch
        self.evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log losses and metrics as ``test/…``."""
        self._log_evaluation("test")
