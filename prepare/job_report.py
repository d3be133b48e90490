"""The page ``report.html`` at the end of a job: stages, curves of the training, real and generated spectrograms."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from exporters.visualization.report.curves import curves_section
from exporters.visualization.report.page import Section, report_page, table
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
from formats.local_files import read_json_object
from prepare.training_runs import newest_checkpoint

PER_USER = 4  # typical images of each user and kind
MEASURED = 12  # images among which these are chosen
EVALUATION = Path("evaluation") / "evaluation.json"


def write_job_report(
    folder: Path, seconds: Mapping[str, float], real: Path | None = None, samples: Path | None = None
) -> None:
    """Write the report of a finished job; where that fails, warn, since the results are there.

    Args:
        folder: Folder of the job, with the training's runs in ``training``.
        seconds: Duration of each stage.
        real: Folder of real spectrograms, to show next to generated ones.
        samples: Folder of generated spectrograms.
    """
    try:
        sections = [
            *_spectrograms(folder, real, samples),
            *_training(folder),
            _stages(folder, seconds),
            files_section(folder),
        ]
        rows = [("versions", ", ".join(versions())), ("git commit", git_commit(Path.cwd()) or "not a git repository")]
        run = f"<pre class='command'>{escape(shlex.join(command()))}</pre>\n"
        run += table(("setting", "value"), rows).replace("<table>", '<table class="facts stacked">')
        summary = f"{folder}, {now()}, {duration(sum(seconds.values()))}"
        sections += [files_section(folder), Section("What was run", run)]
        page = report_page(f"Job: {folder.name}", sections, summary)
        write_text(folder / REPORT, page)
    except Exception as fault:
        warnings.warn(f"{folder / REPORT} could not be written: {type(fault).__name__}: {fault}", stacklevel=2)
    else:
        print(f"report:          {folder / REPORT}")


def _stages(folder: Path, seconds: Mapping[str, float]) -> Section:
    reports = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/**/{REPORT}"))
    links = "".join(f'<li><a href="{escape(path)}">{escape(path)}</a></li>' for path in reports)
    rows = [(name, duration(value)) for name, value in seconds.items()]
    more = f"<p>Reports of the stages:</p><ul>{links}</ul>" if links else ""
    return Section("Stages", table(("stage", "time"), rows, numbers=[1]) + more)


def _training(folder: Path) -> list[Section]:
    newest = newest_checkpoint(folder / "training")
    return curves_section(newest.parents[1] / "metrics.csv") if newest else []


def _spectrograms(folder: Path, real: Path | None, samples: Path | None) -> Sequence[Section]:
    """Show typical real and generated images of each user, with the measures of the evaluation."""
    if real is None or samples is None:
        return []
    from datamodules.sample_requests import find_samples  # imports PyTorch, which help does without
    from datamodules.spectrogram_folders import SpectrogramFile
    from datamodules.spectrograms import find_spectrograms
    from exporters.visualization.report.quality import quality_tables
    from exporters.visualization.report.spectrograms import SpectrogramRow, spectrograms_section
    from formats.spectrogram_axes import SpectrogramAxes
    from prepare.spectrogram_comparison import typical_images

    found = find_spectrograms(real, "val")
    users = sorted({file.user_id for file in found})
    rows = []
    for user, paths in find_samples(samples, users).items():
        files = [file for file in found if file.user_id == user]
        rows.append(SpectrogramRow(user, "real", typical_images(files[:MEASURED], PER_USER)))
        made = [SpectrogramFile(path, user) for path in paths[:MEASURED]]
        rows.append(SpectrogramRow(user, "generated", typical_images(made, PER_USER)))
    path = folder / EVALUATION
    measures = ""
    if path.is_file():
        measures = quality_tables(read_json_object(path, "Run the command again."), users)
    return [spectrograms_section("Real and generated spectrograms", rows, SpectrogramAxes.read(real), measures)]
