"""Shipped experiments: ``<task>.yaml`` runs a task, ``overlays/*.yaml`` change the machine or the size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

FOLDER = Path(__file__).parent
Item = TypeVar("Item")


def find_config(path: str | Path) -> Path:
    """Return the path of a configuration file, from any working directory.

    A file of the user's comes first; else the shipped file of that name, with or without its folder.

    Args:
        path: As typed, such as ``my.yaml``, ``configs/overlays/cpu.yaml``, ``overlays/cpu.yaml`` or ``cpu.yaml``.

    Returns:
        The file that exists; ``path`` itself if there is none.

    Example:
        >>> find_config("overlays/cpu.yaml").is_absolute(), find_config("cpu.yaml").is_absolute()
        (True, True)
        >>> find_config("nowhere.yaml")
        PosixPath('nowhere.yaml')
    """
    path = Path(path)
    name = path.relative_to(FOLDER.name) if path.parts[:1] == (FOLDER.name,) else path
    shipped = [each for each in (FOLDER / name, FOLDER / "overlays" / name) if each.is_file()]
    return shipped[0] if shipped and not path.exists() else path


def overlays_after_experiment(items: Sequence[Item], path_of: Callable[[Item], Path | None]) -> list[Item]:
    """Move shipped overlays that come before an experiment behind it.

    An overlay changes an experiment, whichever of the two is named first. Everything else keeps its order.

    Args:
        items: Words of a command line, or files.
        path_of: Returns the configuration file of an item, None if it has none.
    """
    paths = [path_of(item) for item in items]
    experiments = [place for place, path in enumerate(paths) if path is not None and _is_experiment(path)]
    last = experiments[-1] if experiments else -1
    early = [place for place in range(last) if (path := paths[place]) is not None and _is_overlay(path)]
    order = [place for place in range(last + 1) if place not in early] + early + list(range(last + 1, len(items)))
    return [items[place] for place in order]


def _is_overlay(path: Path) -> bool:
    return path.resolve().parent == (FOLDER / "overlays").resolve()


def _is_experiment(path: Path) -> bool:
    """Return whether a file names the class of the model; a file that cannot be read is reported elsewhere."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    model = content.get("model") if isinstance(content, Mapping) else None
    return isinstance(model, str) or (isinstance(model, Mapping) and "class_path" in model)
