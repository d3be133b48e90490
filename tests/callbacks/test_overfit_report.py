"""The over-fit report of a short run."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from callbacks import overfit_report
from callbacks.overfit_report import OverfitReport
from formats.errors import InputError
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from tests.support.tiny_tasks import pair, tiny_trainer


class BreakWeights(Callback):
    """Makes the loss of the third epoch infinite."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PairDepthCameraModule)
        if trainer.current_epoch == 2:
            pl_module.loss.camera_weight = math.inf


def fit(folder: Path, monkeypatch: pytest.MonkeyPatch, *callbacks: Callback, **settings: Any) -> OverfitReport:
    """Train three epochs on one of three pairs."""
    monkeypatch.setattr(overfit_report, "point_cloud_image", lambda *_: torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    monkeypatch.setattr(
        overfit_report, "scene_images", lambda *_: 2 * [torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()]
    )
    monkeypatch.setattr("exporters.visualization.overfit_report._curves", lambda _: [])
    module, data = pair(folder, batch_size=1, **settings)
    report = OverfitReport()
    trainer = tiny_trainer(
        logger=CSVLogger(folder, "run"),
        callbacks=[report, *callbacks],
        limit_train_batches=1,
        limit_val_batches=1,
        log_every_n_steps=1,
        max_epochs=3,
    )
    trainer.fit(module, data)
    return report


def text_of(folder: Path) -> str:
    return (folder / "run" / "version_0" / "report" / "report.md").read_text(encoding="utf-8")


def test_the_record_of_the_experiment_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fit(tmp_path, monkeypatch, frozen=["camera_head.*"], log_gradients="full")
    text = text_of(tmp_path)
    record = dict(re.findall(r"^\| ([a-z][a-z0-9 ]+) \| (.+) \|$", text.split("## Losses")[0], flags=re.MULTILINE))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d .+", record["date"])
    assert record["configuration"] == "not saved"
    assert (record["number of pairs"], record["scene"], record["batch size"]) == ("3", "0001", "1")
    assert (record["image 1"], record["image 2"]) == ("a.jpg", "b.jpg")
    assert re.fullmatch(r"\d{4}/2352 pixels \(\d\d\.\d %\)", record["valid depth of image 2"])
    assert (record["learning rate"], record["epochs"]) == ("0.001", "3 of 3")
    assert record["frozen modules"] == "`camera_head.*`"
    assert record["start"] == "random weights"
    assert record["device and precision"] == "cpu, 32-true"
    assert {"grad_norm/aggregator", "grad_norm/depth_head"} <= report.history[0].keys()
    assert "grad_norm/camera_head" not in report.history[0]
    assert "| largest gradient norm after the first tenth, aggregator |" in text
    assert text.count("| `aggregator.") + text.count("| `depth_head.") == 10
    page = tmp_path / "run" / "version_0" / "report" / "report.html"
    assert "Over-fit test of one pair" in page.read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert re.search(r"^FAIL: objective .*\n  objective .*: try more epochs", out, flags=re.MULTILINE)
    assert "report.md and report.html" in out


def test_a_run_that_breaks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="training step 3"):
        fit(tmp_path, monkeypatch, BreakWeights())
    text = text_of(tmp_path)
    assert "| epochs | 2 of 3 |" in text
    assert "What went wrong: training stopped: training step 3: loss_objective is not finite" in text
    assert "| **non-finite values** | **1** |" in text
    assert "## Images" not in text
