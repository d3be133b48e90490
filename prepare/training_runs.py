"""Checkpoints and metrics of the runs in a folder, ``version_0``, ``version_1``, …, in which training was continued."""

from __future__ import annotations

import math
from pathlib import Path

from formats.errors import InputError
from formats.local_files import read_csv


def newest_checkpoint(training_dir: Path) -> Path | None:
    """Return the ``last.ckpt`` written most recently by the runs in a folder, or None."""
    found = sorted(training_dir.glob("version_*/checkpoints/last*.ckpt"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def best_checkpoint(training_dir: Path) -> Path | None:
    """Return the ``best.ckpt`` with the lowest validation loss of all runs in a folder; without one, the last."""
    losses: dict[Path, float] = {}
    for path in training_dir.glob("version_*/checkpoints/best*.ckpt"):
        values = logged_values(path.parents[1] / "metrics.csv", "val/loss")
        losses[path] = min(values, default=math.inf)
    if not losses:
        return newest_checkpoint(training_dir)
    return min(losses, key=lambda path: (losses[path], -path.stat().st_mtime_ns))


def logged_values(path: Path, name: str) -> list[float]:
    """Return the values of a metric that a run logged, in order; none where the file is missing.

    Raises:
        InputError: The file is broken.
    """
    if not path.is_file():
        return []
    remedy = "Move it away; the run's losses are read from it."
    try:
        return [float(cell) for row in read_csv(path, remedy) if (cell := row.get(name))]
    except ValueError as fault:
        raise InputError(path, f"holds a cell that is not a number: {fault}", remedy) from fault
