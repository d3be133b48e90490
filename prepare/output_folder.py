"""Output folder of a data tool, with a record of the settings it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from formats.atomic import write_json
from formats.errors import InputError
from formats.folder_lock import NAME as LOCK
from formats.local_files import read_json


def claim_folder(out: Path, settings: dict[str, Any], record_name: str = "simulation.json") -> None:
    """Reserve a folder for data of these settings.

    Args:
        out: The folder; new, empty, or started with the same settings.
        settings: Settings that the data depends on.
        record_name: File in the folder that stores the settings, one per kind of data.

    Raises:
        InputError: The folder holds other files, or data made with other settings.
    """
    record = out / record_name
    if record.exists():
        found = read_json(record, "Choose a new folder, or delete this one first.")
        if found != settings:
            fault = "the folder holds a dataset made with other settings"
            raise InputError(record, fault, "Choose a new folder, or delete this one first.")
    elif out.exists() and (not out.is_dir() or any(entry.name != LOCK for entry in out.iterdir())):
        fault = f"exists, but is not a dataset of this tool (no {record_name} in it)"
        raise InputError(out, fault, "Choose a new or empty folder.")
    else:
        write_json(record, settings)
