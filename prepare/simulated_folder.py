"""A folder of simulated data, and the settings it was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from formats.atomic import write_json
from formats.errors import InputError


def claim_folder(out: Path, simulation: dict[str, Any]) -> None:
    """Make ``out`` this simulation's folder, or raise InputError if it already holds something else."""
    record = out / "simulation.json"
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != simulation:
            fault = "the folder holds a data set made with other settings"
            raise InputError(record, fault, "Name a new folder, or delete this one first.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        fault = "exists and is not a simulated data set (no simulation.json in it)"
        raise InputError(out, fault, "Name a new or empty folder.")
    else:
        write_json(record, simulation)
