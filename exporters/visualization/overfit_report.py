"""Report of an over-fit test, which checks whether a network can memorise a single pair of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import render_figure
from exporters.visualization.document import (
    Block,
    Bullets,
    Figure,
    Heading,
    Paragraph,
    Table,
    file_stem,
    write_document,
)

TABLE_EPOCHS = (1, 10, 50, 100)  # and the last one
DEPTH_TERMS = ("loss_conf_depth", "loss_reg_depth", "loss_grad_depth")

LOSSES = (
    "Train and validation are the objective, which may fall below zero because confidence is rewarded. Camera and "
    "depth are parts of the training objective before their weights: depth is `loss_reg_depth`, the mean absolute "
    "error, and the sum adds its confidence and gradient terms, `loss_conf_depth` and `loss_grad_depth`."
)

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
        least: Lower limit, where ``limit`` is the upper limit of a range.
    """

    name: str
    value: float
    limit: float
    passed: bool
    unit: str = ""
    least: float | None = None

    def texts(self) -> tuple[str, str]:
        """Return value and limit with their unit, with enough digits to distinguish them."""
        for digits in range(3, 17):
            value, limit = f"{self.value:.{digits}g}", f"{self.limit:.{digits}g}"
            if value != limit or self.value == self.limit:
                break
        if self.least is not None:
            limit = f"{self.least:g} to {self.limit:g}"
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


@dataclass(frozen=True)
class Findings:
    """Texts of the report of a run.

    Args:
        record: Settings and data of the experiment, label and value.
        criteria: Criteria that decide between PASS and FAIL.
        observations: Sentences on the course of the training.
        advice: What to try, a sentence for each group of criteria that failed.
        conclusion: One paragraph.
        gradients: Parameters with the largest gradients: name, norm and training step.
    """

    record: Sequence[tuple[str, str]]
    criteria: Sequence[Criterion]
    observations: Sequence[str] = ()
    advice: Sequence[str] = ()
    conclusion: str = ""
    gradients: Sequence[tuple[str, float, int]] = ()


def write_report(
    folder: str | Path,
    history: Sequence[Mapping[str, float]],
    images: Mapping[str, NDArray[np.uint8]],
    findings: Findings,
    note: str = "",
) -> Path:
    """Write report.md with its PNG images, and report.html, which has them in it, into a folder.

    Args:
        folder: The folder, created if missing; files of an earlier report are replaced.
        history: One row per epoch, ascending: "epoch", counted from 1, and losses and metrics by name, such as
            ``train/loss_objective``, ``val/loss_objective`` and ``grad_norm/depth_head``. Names whose last part starts
            with "loss" are shown as losses, all others as metrics. A row may lack names that were not measured.
        images: Caption → (H, W, 3), in order.
        findings: What the report says about the run.
        note: Paragraph above the images, such as `exporters.visualization.depth.LEGEND`.

    Returns:
        Path of report.md.

    Raises:
        ValueError: There are no epochs or no criteria.
    """
    if not history:
        raise ValueError("the history has no epoch")
    blocks: list[Block] = [Heading("Over-fit test of one pair", 1), Paragraph(verdict_line(findings.criteria), True)]
    if findings.record:
        blocks += [Heading("Experiment"), Table(("setting", "value"), findings.record)]
    blocks += [Heading("Losses"), _loss_table(history), Paragraph(LOSSES)]
    blocks += [Heading("Criteria"), _criteria_table(findings.criteria)]
    for title, sentences in (("Observations", findings.observations), ("What to try", findings.advice)):
        blocks += [Heading(title), Bullets(sentences)] if sentences else []
    blocks += [Heading("Conclusion"), Paragraph(findings.conclusion)] if findings.conclusion else []
    blocks += [Heading("Curves")]
    for title, stem, names in _curves(history):
        blocks.append(Figure(title, render_figure(_draw_curves(history, names)), stem))
    if findings.gradients:
        rows = [(f"`{name}`", f"{norm:.4g}", str(step)) for name, norm, step in findings.gradients]
        table = Table(("parameter", "largest norm", "step"), rows, frozenset((1, 2)))
        blocks += [Heading("Largest gradients"), table]
    if images:
        blocks += [Heading("Images"), *([Paragraph(note)] if note else [])]
        # The number makes names unique.
        blocks += [
            Figure(caption, image, f"image_{number:02d}_{file_stem(caption)}".removesuffix("_"))
            for number, (caption, image) in enumerate(images.items(), start=1)
        ]
    return write_document(Path(folder), "report", blocks)


def _criteria_table(criteria: Sequence[Criterion]) -> Table:
    rows = [(each.name, *each.texts(), "pass" if each.passed else "FAIL") for each in criteria]
    failed = frozenset(place for place, each in enumerate(criteria) if not each.passed)
    return Table(("criterion", "value", "limit", "result"), rows, frozenset((1, 2)), failed)


def _loss_table(history: Sequence[Mapping[str, float]]) -> Table:
    last, rows = history[-1]["epoch"], []
    for row in history:
        if row["epoch"] in (*TABLE_EPOCHS, last):
            depth = [row[f"train/{term}"] for term in DEPTH_TERMS if f"train/{term}" in row]
            values = [row.get(f"{name}_objective") for name in ("train/loss", "val/loss")]
            values += [row.get("train/loss_camera"), row.get("train/loss_reg_depth"), sum(depth) if depth else None]
            rows.append([f"{row['epoch']:g}", *("–" if value is None else f"{value:.4g}" for value in values)])
    header = ("epoch", "train", "validation", "camera", "depth (loss_reg_depth)", "sum of the depth terms")
    return Table(header, rows, frozenset(range(len(header))))


def _curves(history: Sequence[Mapping[str, float]]) -> list[tuple[str, str, list[str]]]:
    """Return title, file stem and curve names, without their split, of each figure that is not empty."""
    names = dict.fromkeys(key.removeprefix("train/").removeprefix("val/") for row in history for key in row)
    names.pop("epoch", None)
    losses = [name for name in names if name.split("/")[-1].startswith("loss")]
    losses.sort(key=lambda name: name != "loss_objective")  # the objective first, then the others in their order
    gradients = [name for name in names if name.startswith("grad_norm/")]
    metrics = [name for name in names if name not in losses and name not in gradients]
    figures = [
        ("Losses per epoch", "losses", losses),
        ("Metrics per epoch", "metrics", metrics),
        ("Gradient norms per epoch, before clipping", "gradients", gradients),
    ]
    return [figure for figure in figures if figure[2]]


def _draw_curves(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> Plot:
    """Draw one panel per name, training solid and validation dashed."""
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Plot(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.3), dpi=100, layout="constrained")
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
