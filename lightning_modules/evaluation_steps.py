"""Validation and test by losses and metrics that are gathered over an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric, Metric


class EvaluationSteps(LightningModule):
    """A module whose validation and test log the same numbers, as ``val/…`` and ``test/…``, over all processes."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_means: dict[str, MeanMetric] = {}

    def evaluate(self, batch: Any) -> None:
        """Add a batch to the losses, by :meth:`add_losses`, and to the metrics."""
        raise NotImplementedError

    def metrics(self) -> Sequence[Metric]:
        """Metrics whose ``compute`` gives numbers by name."""
        raise NotImplementedError

    def add_losses(self, terms: Mapping[str, Tensor], images: Tensor) -> None:
        """Add a batch's losses, scalars by name, each the mean over so many images."""
        for name, value in terms.items():
            if name not in self.loss_means:
                self.loss_means[name] = MeanMetric().to(self.device)
            self.loss_means[name].update(value, images)

    def _log_evaluation(self, stage: str) -> None:
        numbers = {f"{stage}/{name}": mean.compute() for name, mean in self.loss_means.items()}
        for metric in self.metrics():
            numbers |= {f"{stage}/{name}": value for name, value in metric.compute().items()}
        for metric in (*self.metrics(), *self.loss_means.values()):
            metric.reset()
        # Computed over all processes already.
        self.log_dict({name: value.float() for name, value in numbers.items()}, rank_zero_only=False, sync_dist=False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Losses and metrics of a batch."""
        self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log losses and metrics over all processes as ``val/…``."""
        self._log_evaluation("val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Losses and metrics of a batch."""
        self.evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log losses and metrics over all processes as ``test/…``."""
        self._log_evaluation("test")
