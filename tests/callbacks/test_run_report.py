"""Every run ends with a report, which never spoils the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from callbacks.pair_images import PairImages
from callbacks.run_report import metrics_section
from exporters.visualization.report.page import Section
from exporters.visualization.report.provenance import git_commit
from tests.support.tiny_tasks import TASKS, tiny_trainer


class Own(Callback):
    """A callback of the user with a section of its own."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> Sequence[Section]:
        if self.broken:
            raise ValueError("no such thing")
        return [Section("My section", "<p>mine</p>")]


def test_a_training_ends_with_curves_metrics_and_own_sections(tmp_path: Path) -> None:
    module, data = TASKS["microdoppler"](tmp_path)
    trainer = tiny_trainer(
        report=True,
        logger=CSVLogger(tmp_path, "run"),
        callbacks=[Own()],
        max_epochs=2,
        limit_val_batches=1,
        log_every_n_steps=1,
    )
    trainer.fit(module, data)
    page = (tmp_path / "run/version_0/report.html").read_text(encoding="utf-8")
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == ["Curves", "Final metrics", "My section", "Files", "What was run"]
    assert '<polyline class="curve train"' in page
    assert "Objective of training, the sum of its terms" in page
    assert "learning_rate: 0.001" in page
    assert 'href="metrics.csv"' in page
    assert not re.search(r'(src|href)="(https?:|//)', page)
    assert len(page.encode()) < 200_000


def test_scenes_are_shown_next_to_the_truth(tmp_path: Path) -> None:
    module, data = TASKS["pair"](tmp_path)
    trainer = tiny_trainer(
        report=True, logger=CSVLogger(tmp_path, "run"), callbacks=[PairImages(1)], max_steps=1, limit_val_batches=1
    )
    trainer.fit(module, data)
    page = (tmp_path / "run/version_0/report.html").read_text(encoding="utf-8")
    assert '"title":"Predicted"' in page
    assert '"title":"True"' in page
    assert "<figcaption>depth at step 1</figcaption>" in page


def test_a_report_that_fails_is_a_warning(tmp_path: Path) -> None:
    module, data = TASKS["microdoppler"](tmp_path)
    trainer = tiny_trainer(report=True, default_root_dir=tmp_path / "run", callbacks=[Own(broken=True)], max_steps=1)
    with pytest.warns(match=r"report\.html could not be written: ValueError: no such thing"):
        trainer.fit(module, data)
    assert trainer.global_step == 1
    assert not (tmp_path / "run/report.html").exists()


def test_reports_can_be_left_out(tmp_path: Path) -> None:
    module, data = TASKS["microdoppler"](tmp_path)
    tiny_trainer(report=False, default_root_dir=tmp_path / "run", max_steps=1).fit(module, data)
    tiny_trainer(report=True, default_root_dir=tmp_path / "run", fast_dev_run=True).fit(module, data)
    assert not list(tmp_path.rglob("report.html"))


def test_metrics_come_with_their_meaning() -> None:
    values = {"val/abs_rel": 0.25, "val/loss_R": float("nan"), "val/images": 3.0, "test/x_user_1": 1.0, "loss": 2.0}
    (section,) = metrics_section(values)
    assert re.findall('<th scope="row">(.*?)</th>', section.body) == ["val/abs_rel", "val/loss_R"]
    assert '<td class="number">0.25</td><td>Mean error of depth as a share of the true depth' in section.body
    assert metrics_section({"loss": 1.0}) == []


def test_the_commit_of_a_folder_without_git_is_not_known(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
