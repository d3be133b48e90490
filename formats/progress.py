"""Progress of long work: a bar in a terminal, and a line per minute in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
FIRST_SECONDS, SECONDS_BETWEEN_LINES = 5.0, 60.0


class ProgressClock:
    """Decide when the next line of a log file is due: after five seconds, then every minute."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self._due = self.start + FIRST_SECONDS

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.start

    def is_due(self) -> bool:
        """Return whether a line is due; the next one is due a minute later."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + SECONDS_BETWEEN_LINES
        return True


def progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield items and show how many are done, how many are left, and the rate, on standard error.

    Nothing is shown of work that takes less than five seconds and of items without a length.

    Args:
        items: The items; an item is done when the next one is requested.
        description: What is done, such as ``spectrograms``.
        total: Number of items, where ``items`` has no length.

    Example:
        >>> sum(progress([1, 2, 3], "numbers"))
        6
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    in_terminal = sys.stderr.isatty()
    clock = ProgressClock()
    with ExitStack() as stack:
        bar: Progress | None = None
        task = None
        for done, item in enumerate(items):
            if total and in_terminal and bar is None and clock.is_due():
                bar = stack.enter_context(_bar())
                task = bar.add_task(description, total=total)
            if bar is not None and task is not None:
                bar.update(task, completed=done)
            elif total and done and clock.is_due():
                print(progress_line(description, done, total, clock.seconds()), file=sys.stderr, flush=True)
            yield item


def progress_line(description: str, done: int, total: int, seconds: float, done_before: int = 0) -> str:
    """Return a line with what is done and left.

    Args:
        description: What is done.
        done: Number of items done.
        total: Number of all items.
        seconds: Time that they took, without those done before.
        done_before: Items done by an earlier run.

    Example:
        >>> progress_line("images", 30, 120, 60.0)
        'images: 30 of 120, 90 left, 0.50 per second, about 3 min left'
    """
    rate = (done - done_before) / max(seconds, 1e-9)
    left = f", about {duration((total - done) / rate)} left" if rate > 0 and done < total else ""
    return f"{description}: {done} of {total}, {total - done} left, {rate_text(rate)}{left}"


def rate_text(rate: float) -> str:
    """Return items per second, minute or hour, whichever gives a number of at least about 1.

    Example:
        >>> rate_text(12.34), rate_text(0.1), rate_text(0.001)
        ('12.3 per second', '6.0 per minute', '3.6 per hour')
    """
    if rate >= 0.5 or rate <= 0:
        return f"{rate:.3g} per second" if rate >= 1 or rate <= 0 else f"{rate:.2f} per second"
    return f"{60 * rate:.1f} per minute" if rate >= 1 / 60 else f"{3600 * rate:.1f} per hour"


def duration(seconds: float) -> str:
    """Return a time in words, rounded.

    Example:
        >>> duration(42), duration(200), duration(9000)
        ('42 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bar() -> Progress:
    from rich import progress as parts  # quick commands do without
    from rich.console import Console

    columns = (parts.TextColumn("{task.description}"), parts.BarColumn(), parts.MofNCompleteColumn())
    times = (parts.TimeElapsedColumn(), parts.TimeRemainingColumn())
    return parts.Progress(*columns, *times, console=Console(stderr=True), transient=True)
