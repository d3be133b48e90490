"""Callback that ends every run with one page, ``report.html``."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from exporters.visualization.report.curves import curves_section
from exporters.visualization.report.meanings import is_count, meaning
from exporters.visualization.report.page import Section, figure, report_page, table
from exporters.visualization.report.provenance import (
    REPORT,
    command,
    duration,
    files_section,
    git_commit,
    now,
    versions,
)
from formats.atomic import write_text
from formats.images import read_rgb
from networks.shipped_weights import ShippedWeights

VERBS = {"fit": "Training", "test": "Test", "predict": "Prediction"}
MAX_IMAGES = 8


@runtime_checkable
class Reporting(Protocol):
    """Callback that adds sections to the report of a run."""

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> Sequence[Section]:
        """Return the sections, on the first process at the end of the run."""


@runtime_checkable
class Writing(Protocol):
    """Callback that names the folder of the results of ``predict``."""

    output_dir: Path


class RunReport(Callback):
    """Write ``report.html`` at the end of ``fit``, ``test`` and ``predict``: one file that loads nothing.

    It is in the run's folder, or in the folder of the results of ``predict``, and holds the command, the configuration
    and versions, curves from ``metrics.csv``, final metrics with what they mean, the images in ``images/``, and the
    sections of all callbacks of the run that have a ``report_sections`` method. A report that cannot be made is a
    warning, and changes nothing else.
    """

    def __init__(self) -> None:
        self.began = time.time()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the time."""
        self.began = time.time()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the report on the first process, after all other files."""
        folder = _folder(trainer, stage)  # reads log_dir, which every process must do
        is_trial: bool | int = getattr(trainer, "fast_dev_run", False)  # Lightning sets it without declaring it
        if stage not in VERBS or is_trial or not trainer.is_global_zero:
            return
        try:
            page = self.page(trainer, pl_module, stage, folder)
            write_text(folder / REPORT, page)
        except Exception as fault:  # whatever it is, the results are there
            rank_zero_warn(f"{folder / REPORT} could not be written: {type(fault).__name__}: {fault}")
        else:
            rank_zero_info(f"report: {folder / REPORT}")

    def page(self, trainer: Trainer, pl_module: LightningModule, stage: str, folder: Path) -> str:
        """Return the report as HTML."""
        results = [
            section
            for callback in _callbacks(trainer)
            if isinstance(callback, Reporting)
            for section in callback.report_sections(trainer, pl_module)
        ]
        first = [section for section in results if section.first]
        sections = [
            *first,
            *_curves(trainer),
            *metrics_section(_final_metrics(trainer, pl_module)),
            *_images(folder),
            *[section for section in results if not section.first],
            files_section(folder),
            self._run(trainer, pl_module),
        ]
        summary = f"{folder}, {now()}, {duration(time.time() - self.began)}"
        return report_page(f"{VERBS[stage]}: {type(pl_module).__name__}", sections, summary)

    def _run(self, trainer: Trainer, pl_module: LightningModule) -> Section:
        """What was run, so that it can be run again."""
        parameters = list(pl_module.parameters())
        count, trained = (
            sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad])
        )
        named = ", ".join(versions())
        processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
        is_fit, shipped = trainer.state.fn == "fit", getattr(pl_module, "shipped", None)
        weights = f"'{shipped.name}' of the repository" if isinstance(shipped, ShippedWeights) else "none"
        rows = [
            ("started", datetime.fromtimestamp(self.began).astimezone().strftime("%Y-%m-%d %H:%M %Z")),
            ("duration", duration(time.time() - self.began)),
            ("steps", f"{trainer.global_step} ({trainer.current_epoch} epochs)"),
            (
                "parameters",
                f"{count / 1e6:.2f} M" + (f", of which {trained / 1e6:.2f} M are trained" if is_fit else ""),
            ),
            ("device", f"{trainer.strategy.root_device.type}, {trainer.precision}{processes}"),
            ("checkpoint", str(trainer.ckpt_path or weights)),
            ("versions", named),
            ("git commit", git_commit(Path.cwd()) or "not a git repository"),
        ]
        if not is_fit:
            rows = [row for row in rows if row[0] != "steps"]
        body = f"<pre class='command'>{escape(shlex.join(command()))}</pre>\n"
        body += table(("setting", "value"), rows).replace("<table>", '<table class="facts stacked">')
        text = escape(configuration(trainer, pl_module))
        body += f"<details><summary>Configuration</summary><pre>{text}</pre></details>"
        return Section("What was run", body)


def _folder(trainer: Trainer, stage: str) -> Path:
    run = Path(trainer.log_dir or trainer.default_root_dir)
    if stage != "predict":
        return run
    writers = [callback.output_dir for callback in _callbacks(trainer) if isinstance(callback, Writing)]
    output = writers[0] if writers else getattr(getattr(trainer, "datamodule", None), "output_dir", None)
    return Path(output) if output else run


def _callbacks(trainer: Trainer) -> list[Callback]:
    found: list[Callback] = getattr(trainer, "callbacks", [])  # Lightning sets it without declaring it
    return found


def configuration(trainer: Trainer, pl_module: LightningModule) -> str:
    """Return the complete configuration as YAML; without the command line, the settings of the module."""
    for callback in _callbacks(trainer):
        if isinstance(callback, SaveConfigCallback):
            text: str = callback.parser.dump(callback.config, skip_none=False)
            return text
    return "\n".join(f"{name}: {value}" for name, value in pl_module.hparams.items())


def _curves(trainer: Trainer) -> list[Section]:
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            logger.save()
            return curves_section(Path(logger.log_dir) / "metrics.csv")
    return []


def _final_metrics(trainer: Trainer, module: LightningModule) -> dict[str, float]:
    values = {name: float(value) for name, value in {**trainer.logged_metrics, **trainer.callback_metrics}.items()}
    results = getattr(module, "test_results", None)
    if trainer.state.fn == "test" and isinstance(results, Mapping):
        values |= {f"test/{name}": float(value) for name, value in results.items() if not isinstance(value, str)}
    return values


def metrics_section(values: Mapping[str, float]) -> list[Section]:
    """Return the section of final metrics, each with one sentence; none where nothing was measured."""
    rows = []
    for name, value in sorted(values.items(), key=lambda entry: _order(entry[0])):
        is_part = "_user_" in name or name.endswith("_real") or "/" not in name
        if not is_count(name) and not is_part:
            rows.append((name, f"{value:.4g}" if math.isfinite(value) else str(value), meaning(name)))
    if not rows:
        return []
    shown = table(("metric", "value", "meaning"), rows[:24], numbers=[1])
    if len(rows) > 24:
        more = table(("metric", "value", "meaning"), rows[24:], numbers=[1])
        shown += f"<details><summary>{len(rows) - 24} more metrics</summary>{more}</details>\n"
    return [Section("Final metrics", shown.replace("<table>", '<table class="stacked">'))]


def _order(name: str) -> tuple[int, bool, str]:
    """Order metrics by test, validation and training, and losses after others."""
    split, _, rest = name.partition("/")
    places = {"test": 0, "val": 1, "train": 2}
    return places.get(split, 3), "loss" in rest, rest


def _images(folder: Path) -> list[Section]:
    """Show the newest image of each name in ``images/``."""
    newest = {path.stem.rpartition("_")[0]: path for path in sorted((folder / "images").glob("*_[0-9]*.png"))}
    shown = [
        figure(f"{name.replace('_', ' ')} at step {int(path.stem.rpartition('_')[2])}", read_rgb(path))
        for name, path in list(newest.items())[:MAX_IMAGES]
    ]
    return [Section("Images", "".join(shown))] if shown else []
