"""What the weights of a module were trained on, for the results that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning import LightningModule, Trainer

from networks.shipped_weights import ShippedWeights

CHECKPOINT_KEY = "trained_on"
FEW_SAMPLES = 100  # a network trained on fewer knows these by heart


@dataclass(frozen=True)
class TrainingRecord:
    """Data of a training.

    Attributes:
        samples: Number of training samples.
        data: Folder or class of the data.
    """

    samples: int
    data: str

    @classmethod
    def of(cls, trainer: Trainer) -> TrainingRecord | None:
        """Return the record of a running training, or None where the data does not say how much it is."""
        datamodule: Any = getattr(trainer, "datamodule", None)
        try:
            samples = len(getattr(trainer.train_dataloader, "dataset"))  # noqa: B009, typed as any kind of loaders
        except (AttributeError, TypeError):
            return None
        return cls(samples, str(getattr(datamodule, "data_dir", "") or type(datamodule).__name__))

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any]) -> TrainingRecord | None:
        """Return the record in a checkpoint, or None if it has none."""
        record = content.get(CHECKPOINT_KEY)
        if not isinstance(record, Mapping) or not isinstance(record.get("samples"), int):
            return None
        return cls(record["samples"], str(record.get("data", "")))

    def __str__(self) -> str:
        return f"{self.samples} sample{'s' if self.samples != 1 else ''} of {self.data}"


def weights_report(module: LightningModule) -> dict[str, str]:
    """Describe the weights of a module, for a file next to its results.

    Returns:
        What is known of ``weights``, ``trained_on`` and ``limits``; and a ``note`` of one line where results on other
        data are not to be relied on.
    """
    shipped: ShippedWeights | None = getattr(module, "shipped", None)
    record: TrainingRecord | None = getattr(module, "trained_on", None)
    if shipped is not None:
        entries = {"trained_on": shipped.card.get("data"), "limits": shipped.card.get("limits")}
        report = {"weights": shipped.name, **{name: str(text) for name, text in entries.items() if text}}
        return {**report, "note": f"weights '{shipped.name}': {report['limits']}"} if "limits" in report else report
    if record is not None:
        report = {"trained_on": str(record)}
        if record.samples < FEW_SAMPLES:
            few = f"the network was trained on {record} alone: do not rely on its results for other data"
            report["note"] = f"{few}."
        return report
    published = module.hparams.get("published_checkpoint")
    return {"weights": str(published)} if published else {}
