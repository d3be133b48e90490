"""``configs``: list the shipped configurations, and copy one to edit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import configs
from command_line.suggestions import suggestion
from command_line.tasks import UsageError
from formats.atomic import write_text
from formats.errors import InputError

USAGE = """\
usage: python cli.py configs                      list the shipped configurations
       python cli.py configs copy NAME [FILE]     copy one to edit; by default to its name in this folder"""


def run_configs(words: Sequence[str]) -> None:
    """List configurations, or copy one.

    Args:
        words: Words after ``configs``.

    Raises:
        InputError: There is no such configuration, or the file exists.
    """
    if not words or list(words) == ["list"]:
        print(listing())
    elif words[0] in ("-h", "--help"):
        print(USAGE)
    elif words[0] == "copy" and len(words) in (2, 3):
        source = configs.FOLDER / shipped_name(words[1])
        target = Path(words[2] if len(words) == 3 else source.name)
        if target.is_dir():
            target = target / source.name
        if target.exists():
            raise InputError(target, "exists and is not overwritten", "Name another file as the last word.")
        write_text(target, source.read_text(encoding="utf-8"))
        print(f"{target}: copied; use it with --config {target}")
    else:
        raise UsageError("cli.py configs", f"cannot do '{' '.join(words)}'", "Type `configs` or `configs copy NAME`.")


def listing() -> str:
    """Return a line per configuration: its name and the first line of its header."""
    names = shipped_names()
    width = max(map(len, names))
    lines = []
    for name in names:
        first = (configs.FOLDER / name).read_text(encoding="utf-8").partition("\n")[0]
        lines.append(f"{name:<{width}}  {first.removeprefix('#').strip()}")
    return "\n".join(lines)


def shipped_names() -> list[str]:
    """Return the names of all configurations, those of experiments first."""
    return sorted(
        (path.relative_to(configs.FOLDER).as_posix() for path in configs.FOLDER.rglob("*.yaml")),
        key=lambda name: ("/" in name, name),
    )


def shipped_name(word: str) -> str:
    """Return the name of a configuration as typed: with or without ``configs/``, ``overlays/`` and ``.yaml``.

    Raises:
        UsageError: There is no such configuration.
    """
    names = shipped_names()
    wanted = word.removeprefix("configs/").removesuffix(".yaml") + ".yaml"
    for name in names:
        if wanted in (name, Path(name).name):
            return name
    fault = f"there is no shipped configuration '{word}'"
    raise UsageError("cli.py configs", fault, suggestion(wanted, names, "Choose from"))
