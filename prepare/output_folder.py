"""A folder of prepared data, and the settings it was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from formats.atomic import write_json
from formats.errors import InputError


def claim_folder(out: Path, settings: dict[str, Any], record_name: str = "simulation.json") -> None:
    """Make ``out`` the place for data of these settings.

    Args:
        out: The folder: new, empty, or begun with the same settings.
        settings: What the data depends on.
        record_name: File in the folder that keeps the settings, one for each kind of data.

    Raises:
        InputError: The folder holds something else.
    """
    record = out / record_name
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != settings:
            fault = "the folder holds a data set made with other settings"
            raise InputError(record, fault, "Name a new folder, or delete this one first.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        fault = f"exists and holds no data set of this tool (no {record_name} in it)"
        raise InputError(out, fault, "Name a new or empty folder.")
    else:
        write_json(record, settings)
