"""Curves of a run as inline SVG, from the rows of ``metrics.csv``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from exporters.visualization.report.meanings import is_count
from exporters.visualization.report.page import Section
from formats.local_files import read_csv

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 30
MAX_POINTS = 240  # of a curve
FIRST = 6  # panels that are not folded
MAX_PANELS = 60
SPLITS = {"train": "training", "val": "validation", "test": "test"}

Curve = list[tuple[float, float]]


def curves_section(path: Path) -> list[Section]:
    """Return the section of the curves of ``metrics.csv``; none where there is no curve."""
    rows = read_csv(path, "Move it away.") if path.is_file() else []
    drawn = curves([{name: cell or "" for name, cell in row.items()} for row in rows])
    return [Section("Curves", drawn)] if drawn else []


def curves(rows: Sequence[Mapping[str, str]]) -> str:
    """Draw each metric over the steps, training solid and validation dashed, as HTML; "" if there is no curve.

    Args:
        rows: Rows of ``metrics.csv``: cells by column, empty where nothing was logged.
    """
    panels = {name: lines for name, lines in _panels(rows).items() if any(len(line) > 1 for line in lines.values())}
    if not panels:
        return ""
    drawn = [_panel(name, lines) for name, lines in list(panels.items())[:MAX_PANELS]]
    html = f'<div class="panels">{"".join(drawn[:FIRST])}</div>\n'
    if len(drawn) > FIRST:
        rest = "".join(drawn[FIRST:])
        html += (
            f"<details><summary>{len(drawn) - FIRST} more curves</summary><div class='panels'>{rest}</div></details>\n"
        )
    legend = "<p class='legend'><span class='key train'></span> training <span class='key val'></span> validation</p>\n"
    return legend + html


def _panels(rows: Sequence[Mapping[str, str]]) -> dict[str, dict[str, Curve]]:
    """Return name → split → curve; the objective and the most important metrics first."""
    panels: dict[str, dict[str, Curve]] = {}
    for row in rows:
        step = _number(row.get("step"))
        for column, cell in row.items():
            value = _number(cell)
            if column in ("step", "epoch") or step is None or value is None or is_count(column):
                continue
            split, _, name = column.partition("/")
            if split not in SPLITS:
                split, name = "train", column
            name = name.removesuffix("_step").removesuffix("_epoch")
            if column.endswith("_epoch") and f"{column.removesuffix('_epoch')}_step" in row:
                continue  # the same curve, of each step
            panels.setdefault(name, {}).setdefault(split, []).append((step, value))
    return dict(sorted(panels.items(), key=lambda entry: _rank(entry[0], entry[1])))


def _rank(name: str, lines: Mapping[str, Curve]) -> tuple[int, str]:
    if name in ("loss", "loss_objective", "loss_mae"):
        return 0, name
    if name.startswith(("grad_norm", "lr", "ema_decay")):
        return 4, name
    return (1 if "val" in lines and "loss" not in name else 2 if "val" in lines else 3), name


def _number(cell: str | None) -> float | None:
    try:
        value = float(cell) if cell else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def thinned(curve: Curve, count: int = MAX_POINTS) -> Curve:
    """Reduce a curve to the mean of neighbouring points; the last point stays.

    Example:
        >>> thinned([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], 2)
        [(0.5, 2.0), (2.5, 6.0), (3, 7.0)]
    """
    if len(curve) <= count:
        return curve
    size = math.ceil(len(curve) / count)
    groups = [curve[start : start + size] for start in range(0, len(curve), size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [*means, curve[-1]] if means[-1] != curve[-1] else means


def _panel(name: str, lines: Mapping[str, Curve]) -> str:
    lines = {split: thinned(curve) for split, curve in lines.items()}
    steps = [x for curve in lines.values() for x, _ in curve]
    values = [y for curve in lines.values() for _, y in curve]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > 20 * low

    def scaled(value: float) -> float:
        return math.log10(value) if logarithmic else value

    bottom, top = scaled(low), scaled(high)
    if top - bottom < 1e-12 * max(1.0, abs(top)):
        bottom, top = bottom - 0.5 * (abs(bottom) or 1), top + 0.5 * (abs(top) or 1)
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def place(x: float, y: float) -> str:
        across = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        up = HEIGHT - BOTTOM - (scaled(y) - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{up:.1f}"

    parts = []
    for share in (0, 0.5, 1):
        level = bottom + share * (top - bottom)
        y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        text = f"{10**level:.2g}" if logarithmic else f"{level:.3g}"
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for x, anchor in ((first, "start"), (last, "end")):
        across = place(x, values[0]).split(",")[0]
        parts.append(f'<text x="{across}" y="{HEIGHT - 10}" text-anchor="{anchor}">{x:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">step</text>')
    for split, curve in lines.items():
        points = " ".join(place(x, y) for x, y in curve)
        parts.append(f'<polyline class="curve {split}" points="{points}"/>')
        if len(curve) == 1:
            across, _, up = points.partition(",")
            parts.append(f'<circle class="dot {split}" cx="{across}" cy="{up}" r="3"/>')
    ends = ", ".join(f"{SPLITS[split]} {curve[-1][1]:.4g}" for split, curve in lines.items())
    scale = ", logarithmic" if logarithmic else ""
    label = escape(f"{name}{scale}: at the end {ends}")
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    caption = f"<code>{escape(name)}</code>{scale}<br><small>last: {escape(ends)}</small>"
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"
