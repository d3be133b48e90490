from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from callbacks.prediction_writer import PredictionWriter
from formats.errors import InputError


class CountingThreads(LightningModule):
    """Predicts the number of threads it computes with."""

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> int:
        return torch.get_num_threads()


class Collected(PredictionWriter):
    """Keeps predictions in memory."""

    predictions: list[Any]

    def write_on_batch_end(self, trainer: Trainer, pl_module: LightningModule, prediction: Any, *_: Any) -> None:
        self.predictions = [prediction]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_predictions_are_computed_with_a_fixed_number_of_threads(num_threads: int, two_threads: None) -> None:
    writer = Collected(num_threads)
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, callbacks=[writer], enable_progress_bar=False)
    loader = DataLoader(TensorDataset(torch.zeros(1, 1)))
    trainer.predict(CountingThreads(), loader, return_predictions=False)
    assert writer.predictions == [num_threads]
    assert torch.get_num_threads() == 2  # as before


def test_threads_must_be_positive() -> None:
    with pytest.raises(InputError, match="num_threads"):
        Collected(0)
