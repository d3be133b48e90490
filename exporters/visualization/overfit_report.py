"""Report of an over-fit test, which checks whether a network can memorise a single pair of images."""

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

TABLE_EPOCHS = (1, 10, 50, 100)  # and the last one
DEPTH_TERMS = ("loss_conf_depth", "loss_reg_depth", "loss_grad_depth")

_STYLES = {"train": ("#1b6ca8", "-"), "val": ("#d95f02", "--")}
_PANEL = (3.6, 2.6)  # inches
_COLUMNS = 3


@dataclass(frozen=True)
class Criterion:
    """Criterion of the test.

    Args:
        name: Name of the measurement, such as "rotation error".
        value: Measured value.
        limit: Upper or lower limit of the value.
        passed: Whether the value is within the limit.
        unit: Written after value and limit, such as "°" or " %".
    """

    name: str
    value: float
    limit: float
    passed: bool
    unit: str = ""

    def texts(self) -> tuple[str, str]:
        """Return value and limit with their unit, with enough digits to distinguish them."""
        for digits in range(3, 17):
            value, limit = f"{self.value:.{digits}g}", f"{self.limit:.{digits}g}"
            if value != limit or self.value == self.limit:
                break
        return value + self.unit, limit + self.unit


def verdict_line(criteria: Sequence[Criterion]) -> str:
    """Summarise in one line whether all criteria are met, listing all of them or only those that are not.

    Example: ``FAIL: rotation error 0.81° (limit 0.5°)``.

    Raises:
        ValueError: There are no criteria.
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
    images: Mapping[str, NDArray[np.uint8]],
    criteria: Sequence[Criterion],
    note: str = "",
) -> Path:
    """Write report.md and its PNG images into a folder.

    Args:
        folder: The folder, created if missing; files of an earlier report are replaced.
        history: One row per epoch, ascending: "epoch", counted from 1, and losses and metrics by name, such as
            ``train/loss_objective`` and ``val/loss_objective``. Names whose last part starts with "loss" are
            shown as losses, all others as metrics. A row may lack names that were not measured.
        images: Caption → (H, W, 3), in order.
        criteria: Criteria that decide between PASS and FAIL.
        note: Paragraph above the images, such as `exporters.visualization.depth.LEGEND`.

    Returns:
        Path of report.md.

    Raises:
        ValueError: There are no epochs or no criteria.
    """
    if not history:
        raise ValueError("the history has no epoch")
    line = verdict_line(criteria)
    folder = Path(folder)
    parts = ["# Over-fit test of one pair", f"**{line}**", _criteria_table(criteria), "## Losses", _loss_table(history)]
    for title, file, names in _curves(history):
        write_png(folder / file, render_figure(_draw_curves(history, names)))
        parts.append(f"![{title}]({file})")
    if images:
        parts += ["## Images", *([note] if note else []), *_write_images(folder, images)]
    report = folder / "report.md"
    write_text(report, "\n\n".join(parts) + "\n")  # last, so that its links are valid
    return report


def _criteria_table(criteria: Sequence[Criterion]) -> str:
    lines = ["| criterion | value | limit | result |", "|---|---:|---:|---|"]
    for criterion in criteria:
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
    """Return title, file and curve names, without their split, of each figure that is not empty."""
    names = dict.fromkeys(key.removeprefix("train/").removeprefix("val/") for row in history for key in row)
    names.pop("epoch", None)
    losses = [name for name in names if name.split("/")[-1].startswith("loss")]
    losses.sort(key=lambda name: name != "loss_objective")  # the objective first, then the others in their order
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
                # A marker for a single epoch, where a line would not be visible.
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
        # A power of ten, as otherwise the ticks around zero overlap.
        axes.set_yscale("symlog", linthresh=10.0 ** (math.floor(math.log10(largest)) - 1))
    elif largest > 10 * min(values) > 0:  # within one decade, a linear scale is easier to read
        axes.set_yscale("log")


def _write_images(folder: Path, images: Mapping[str, NDArray[np.uint8]]) -> list[str]:
    parts = []
    for number, (caption, image) in enumerate(images.items(), start=1):
        words = re.sub(r"[^a-z0-9]+", "_", caption.lower()).strip("_")
        file = f"image_{number:02d}_{words}.png".replace("_.", ".")  # the number makes names unique
        write_png(folder / file, image)
        parts.append(f"{caption}\n\n![{caption}]({file})")
    return parts
