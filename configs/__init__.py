"""Shipped experiments: ``<task>.yaml`` runs a task, ``overlays/*.yaml`` change the machine or the size."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def find_config(path: str | Path) -> Path:
    """Return the path of a configuration file, from any working directory.

    A file of the user's comes first; else the shipped file of that name, with or without the folder ``configs``.

    Args:
        path: As typed, such as ``my.yaml``, ``configs/overlays/cpu.yaml`` or ``overlays/cpu.yaml``.

    Returns:
        The file that exists; ``path`` itself if there is none.

    Example:
        >>> find_config("overlays/cpu.yaml").is_absolute()
        True
        >>> find_config("nowhere.yaml")
        PosixPath('nowhere.yaml')
    """
    path = Path(path)
    shipped = FOLDER / (path.relative_to(FOLDER.name) if path.parts[:1] == (FOLDER.name,) else path)
    return shipped if not path.exists() and shipped.is_file() else path
