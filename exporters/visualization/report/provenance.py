"""Where a report comes from: command, versions, commit, time, and the files next to it."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path

from exporters.visualization.report.page import Section

REPORT = "report.html"
PACKAGES = ("torch", "lightning", "numpy", "trilight")
MAX_FILES = 40  # in the list of files


def command() -> list[str]:
    """Return the words of the command that is running."""
    program, *words = sys.argv
    name = Path(program).name
    return [*(["python"] if name.endswith(".py") else []), name, *words]


def now() -> str:
    """Return the time with its zone."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def duration(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> duration(2.34), duration(75), duration(7260)
        ('2.3 s', '1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{seconds:.1f} s"
    )


def versions() -> Iterator[str]:
    """Yield name and version of Python and of the packages that matter."""
    yield f"Python {platform.python_version()}"
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def git_commit(folder: Path) -> str | None:
    """Return the commit that is checked out in a folder, with a note on uncommitted changes; None without git."""
    words = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty= with changes"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def files_section(folder: Path) -> Section:
    """List the files in the folder, with links that work where the page stays in it."""
    paths = sorted(path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern) if path.is_file())
    shown = [path for path in paths if not path.name.startswith(".") and path.name != REPORT]
    items = [_file(path, path.relative_to(folder)) for path in shown[:MAX_FILES]]
    more = f"<p>… and {len(shown) - MAX_FILES} more</p>" if len(shown) > MAX_FILES else ""
    body = f"<p>In <code>{escape(str(folder.resolve()))}</code></p><ul>{''.join(items)}</ul>{more}"
    return Section("Files", f"<details><summary>{len(shown)} files next to this page</summary>{body}</details>")


def _file(path: Path, name: Path) -> str:
    size = path.stat().st_size
    text = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    link = escape("/".join(name.parts))
    return f'<li><a href="{link}">{link}</a> <small>{text}</small></li>'
