"""A network says what it was trained on, and warns where that is little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule

from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.training_record import TrainingRecord, weights_report
from networks.depth_pro import PRESETS
from networks.shipped_weights import ShippedWeights
from tests.support.tiny_tasks import pair, tiny_trainer


def module_with(**attributes: Any) -> LightningModule:
    module = LightningModule()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def test_a_checkpoint_records_its_data_and_predictions_name_it(tmp_path: Path) -> None:
    module, data = pair(tmp_path)
    trainer = tiny_trainer(max_steps=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    loader: Any = trainer.train_dataloader
    samples = len(loader.dataset)
    assert content["trained_on"] == {"samples": samples, "data": str(tmp_path / "pairs")}
    found, _ = pair(tmp_path / "other")
    found.on_load_checkpoint(content)
    report = weights_report(found)
    assert report["trained_on"] == f"{samples} samples of {tmp_path / 'pairs'}"
    assert "do not rely on its results for other data" in report["note"]


@pytest.mark.parametrize(("samples", "is_noted"), [(1, True), (99, True), (100, False)])
def test_few_samples_are_noted(samples: int, is_noted: bool) -> None:
    report = weights_report(module_with(trained_on=TrainingRecord(samples, "drawings")))
    assert report["trained_on"] == f"{samples} sample{'s' if samples > 1 else ''} of drawings"
    assert ("note" in report) == is_noted


def test_shipped_weights_state_their_limits() -> None:
    weights = ShippedWeights("net", {}, {"data": "five walkers", "limits": "Knows five walkers."})
    report = weights_report(module_with(shipped=weights))
    assert report == {
        "weights": "net",
        "trained_on": "five walkers",
        "limits": "Knows five walkers.",
        "note": "weights 'net': Knows five walkers.",
    }


def test_published_weights_are_named() -> None:
    module = LayerIndexModule(network=PRESETS["tiny"], published_checkpoint="layers.pt")
    assert weights_report(module) == {"weights": "layers.pt"}
    assert weights_report(LightningModule()) == {}


@pytest.mark.parametrize("content", [{}, {"trained_on": 3}, {"trained_on": {"samples": "many"}}])
def test_other_checkpoints_have_no_record(content: dict[str, Any]) -> None:
    assert TrainingRecord.from_checkpoint(content) is None
