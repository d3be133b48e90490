"""Callback that ends every run with one page, ``report.html``."""

from __future__ import annotations

import importlib.metadata
import math
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from exporters.visualization.report.curves import curves
from exporters.visualization.report.meanings import is_count, meaning
from exporters.visualization.report.page import Section, figure, report_page, table
from formats.atomic import write_text
from formats.images import read_rgb
from formats.local_files import read_csv
from networks.shipped_weights import ShippedWeights

REPORT = "report.html"
VERBS = {"fit": "Training", "test": "Test", "predict": "Prediction"}
PACKAGES = ("torch", "lightning", "numpy", "trilight")
MAX_FILES = 40  # in the list of files
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
            _files(folder),
            self._run(trainer, pl_module),
        ]
        summary = f"{folder}, {_now()}, {_duration(time.time() - self.began)}"
        return report_page(f"{VERBS[stage]}: {type(pl_module).__name__}", sections, summary)

    def _run(self, trainer: Trainer, pl_module: LightningModule) -> Section:
        """What was run, so that it can be run again."""
        parameters = list(pl_module.parameters())
        count, trained = (
            sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad])
        )
        versions = ", ".join([f"Python {platform.python_version()}", *_versions()])
        processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
        is_fit, shipped = trainer.state.fn == "fit", getattr(pl_module, "shipped", None)
        weights = f"'{shipped.name}' of the repository" if isinstance(shipped, ShippedWeights) else "none"
        rows = [
            ("started", datetime.fromtimestamp(self.began).astimezone().strftime("%Y-%m-%d %H:%M %Z")),
            ("duration", _duration(time.time() - self.began)),
            ("steps", f"{trainer.global_step} ({trainer.current_epoch} epochs)"),
            (
                "parameters",
                f"{count / 1e6:.2f} M" + (f", of which {trained / 1e6:.2f} M are trained" if is_fit else ""),
            ),
            ("device", f"{trainer.strategy.root_device.type}, {trainer.precision}{processes}"),
            ("checkpoint", str(trainer.ckpt_path or weights)),
            ("versions", versions),
            ("git commit", git_commit(Path.cwd()) or "not a git repository"),
        ]
        if not is_fit:
            rows = [row for row in rows if row[0] != "steps"]
        body = f"<pre class='command'>{escape(shlex.join(_command()))}</pre>\n"
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


def _command() -> list[str]:
    program, *words = sys.argv
    name = Path(program).name
    return [*(["python"] if name.endswith(".py") else []), name, *words]


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{seconds:.1f} s"
    )


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def git_commit(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder, with a note on uncommitted changes; None without git."""
    words = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty= with changes"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


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
            path = Path(logger.log_dir) / "metrics.csv"
            rows = read_csv(path, "Move it away.") if path.is_file() else []
            drawn = curves([{name: cell or "" for name, cell in row.items()} for row in rows])
            return [Section("Curves", drawn)] if drawn else []
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


def _files(folder: Path) -> Section:
    """List the files in the folder, with links that work where the page stays in it."""
    paths = sorted(path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern) if path.is_file())
    shown = [path for path in paths if not path.name.startswith(".") and path.name != REPORT]
    items = [_file(path, path.relative_to(folder)) for path in shown[:MAX_FILES]]
    more = f"<p>… and {len(shown) - MAX_FILES} more</p>" if len(shown) > MAX_FILES else ""
    body = f"<p>In <code>{escape(str(folder.resolve()))}</code></p><ul>{''.join(items)}</ul>{more}"
    return Section("Files", f"<details><summary>{len(shown)} files next to this page</summary>{body}</details>")


def _file(path: Path, name: Path) -> str:
    size = path.stat().st_size
    text = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    link = escape("/".join(name.parts))
    return f'<li><a href="{link}">{link}</a> <small>{text}</small></li>'
