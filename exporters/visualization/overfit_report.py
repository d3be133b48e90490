"""Report of an over-fit test: does a network that trains on one pair of images learn it by heart?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import render_figure
from formats.atomic import write_text
from formats.images import write_png

TABLE_EPOCHS = (1, 10, 50, 100)  # and the last
DEPTH_TERMS = ("loss_conf_depth", "loss_reg_depth", "loss_grad_depth")

_STYLES = {"train": ("#1b6ca8", "-"), "val": ("#d95f02", "--")}
_PANEL = (3.6, 2.6)  # inches
_COLUMNS = 3


@dataclass(frozen=True)
class Criterion:
    """One condition of a passed test.

    Args:
        name: What is measured, such as "rotation error".
        value: The measurement.
        limit: What the value may be at most, or has to be at least.
        passed: Whether it is.
        unit: Written after value and limit, such as "°" or " %".
    """

    name: str
    value: float
    limit: float
    passed: bool
    unit: str = ""

    def texts(self) -> tuple[str, str]:
        """Return value and limit with their unit, in as many digits as tell them apart."""
        for digits in range(3, 17):
            value, limit = f"{self.value:.{digits}g}", f"{self.limit:.{digits}g}"
            if value != limit or self.value == self.limit:
                break
        return value + self.unit, limit + self.unit


def verdict_line(criteria: Sequence[Criterion]) -> str:
    """Say in one line whether all criteria are met, naming all of them, or else those that are not.

    Example: ``FAIL: rotation error 0.81° (limit 0.5°)``.

    Raises:
        ValueError: There are no criteria, of which neither is true.
    """
    if not criteria:
        raise ValueError("a verdict needs at least one criterion")
    failed = [criterion for criterion in criteria if not criterion.passed]
    named = []
    for criterion in failed or criteria:
        value, limit = criterion.texts()
        named.append(f"{criterion.name} {value} (limit {limit})")
    return f"{'FAIL' if failed else 'PASS'}: {', '.join(named)}"


def write_report(
    folder: str | Path,
    history: Sequence[Mapping[str, float]],
    pictures: Mapping[str, NDArray[np.uint8]],
    verdict: Sequence[Criterion],
    note: str = "",
) -> Path:
    """Write report.md, and the PNGs it shows, into a folder.

    Args:
        folder: Made where it is missing; files of an earlier report in it are replaced.
        history: One row per epoch, ascending: "epoch", counted from 1, and losses and metrics by name, such as
            ``train/loss_objective`` and ``val/loss_objective``. Names whose last part starts with "loss" go among
            the losses, all others among the metrics. A row may lack a name, where it was not measured.
        pictures: Caption → (H, W, 3), in the order shown.
        verdict: What decides between PASS and FAIL.
        note: A paragraph above the pictures, such as `exporters.visualization.depth.LEGEND`.

    Returns:
        Path of report.md.

    Raises:
        ValueError: There is no epoch or no criterion.
    """
    if not history:
        raise ValueError("the history has no epoch")
    line = verdict_line(verdict)
    folder = Path(folder)
    parts = ["# Over-fit test of one pair", f"**{line}**", _verdict_table(verdict), "## Losses", _loss_table(history)]
    for title, file, names in _curves(history):
        write_png(folder / file, render_figure(_draw_curves(history, names)))
        parts.append(f"![{title}]({file})")
    if pictures:
        parts += ["## Pictures", *([note] if note else []), *_write_pictures(folder, pictures)]
    report = folder / "report.md"
    write_text(report, "\n\n".join(parts) + "\n")  # last, so that its links lead somewhere
    return report


def _verdict_table(verdict: Sequence[Criterion]) -> str:
    lines = ["| criterion | value | limit | result |", "|---|---:|---:|---|"]
    for criterion in verdict:
        name = criterion.name.replace("|", "\\|")
        cells = [name, *criterion.texts(), "pass" if criterion.passed else "FAIL"]
        lines.append(_row(cells if criterion.passed else [f"**{cell}**" for cell in cells]))
    return "\n".join(lines)


def _loss_table(history: Sequence[Mapping[str, float]]) -> str:
    last = history[-1]["epoch"]
    lines = ["| epoch | train | validation | camera | depth |", "|---:|---:|---:|---:|---:|"]
    for row in history:
        if row["epoch"] in (*TABLE_EPOCHS, last):
            depth = [row[f"train/{term}"] for term in DEPTH_TERMS if f"train/{term}" in row]
            values = [row.get(f"{name}_objective") for name in ("train/loss", "val/loss")]
            values += [row.get("train/loss_camera"), sum(depth) if depth else None]
            cells = ["–" if value is None else f"{value:.4g}" for value in values]
            lines.append(_row([f"{row['epoch']:g}", *cells]))
    explanation = (
        "Train and validation are the objective, which may fall below zero because confidence is rewarded. Camera "
        "and depth are parts of the training objective before their weights; depth is the sum of its confidence, "
        "regression and gradient terms."
    )
    return "\n".join(lines) + f"\n\n{explanation}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _curves(history: Sequence[Mapping[str, float]]) -> list[tuple[str, str, list[str]]]:
    """Return title, file and names without their split of the figures that have something to show."""
    names = dict.fromkeys(key.removeprefix("train/").removeprefix("val/") for row in history for key in row)
    names.pop("epoch", None)
    losses = [name for name in names if name.split("/")[-1].startswith("loss")]
    losses.sort(key=lambda name: name != "loss_objective")  # the objective first, all others as they come
    metrics = [name for name in names if name not in losses]
    figures = [("Losses per epoch", "losses.png", losses), ("Metrics per epoch", "metrics.png", metrics)]
    return [figure for figure in figures if figure[2]]


def _draw_curves(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> Figure:
    """Draw one panel per name, training solid and validation dashed."""
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.3), dpi=100, layout="constrained")
    shown = {}
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(rows, columns, place)
        finite: list[float] = []
        for split, key in (("train", f"train/{name}"), ("val", f"val/{name}"), ("train", name)):
            points = [(row["epoch"], row[key]) for row in history if key in row and math.isfinite(row[key])]
            if points:
                colour, style = _STYLES[split]
                # A marker for a single epoch, of which a line would show nothing.
                marker = "o" if len(points) == 1 else ""
                (shown[split],) = axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker)
                finite += [value for _, value in points]
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(which="both", labelsize=8)
        axes.grid(alpha=0.3)
        _scale(axes, finite, signed=name == "loss_objective")
    labels = {"train": "training", "val": "validation"}
    figure.legend(
        list(shown.values()), [labels[split] for split in shown], loc="outside upper right", ncols=2, frameon=False
    )
    return figure


def _scale(axes: Axes, values: Sequence[float], signed: bool) -> None:
    largest = max((abs(value) for value in values), default=0.0)
    if largest == 0:
        return
    if signed or min(values) < 0:
        # A power of ten, or the ticks around zero fall on each other.
        axes.set_yscale("symlog", linthresh=10.0 ** (math.floor(math.log10(largest)) - 1))
    elif largest > 10 * min(values) > 0:  # within one decade a plain scale reads better
        axes.set_yscale("log")


def _write_pictures(folder: Path, pictures: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    parts = []
    for number, (caption, picture) in enumerate(pictures.items(), start=1):
        words = re.sub(r"[^a-z0-9]+", "_", caption.lower()).strip("_")
        file = f"picture_{number:02d}_{words}.png".replace("_.", ".")  # the number keeps equal words apart
        write_png(folder / file, picture)
        parts.append(f"{caption}\n\n![{caption}]({file})")
    return parts
