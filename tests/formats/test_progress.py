"""Progress of long work."""

from __future__ import annotations

import sys

import pytest

from formats import progress as module
from formats.progress import progress, progress_line


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds on the clock, which tests move."""
    now = [100.0]
    monkeypatch.setattr("formats.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_after_five_seconds_and_then_every_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in progress(range(100), "images"):
        clock[0] += 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "images: 3 of 100, 97 left, 0.50 per second, about 3 min left"
    assert [line.split()[1] for line in lines] == ["3", "33", "63", "93"]


def test_quick_work_and_work_of_unknown_length_show_nothing(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress(range(3), "images")) == [0, 1, 2]
    for _ in progress(iter(range(3)), "images"):
        clock[0] += 100
    assert capsys.readouterr().err == ""


def test_items_without_a_length_are_counted_by_a_total(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress(iter(range(2)), "images", total=2):
        clock[0] += 100
    assert capsys.readouterr().err.startswith("images: 1 of 2, 1 left, ")


def test_a_terminal_gets_a_bar(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bars = []

    class Bar:
        def __init__(self) -> None:
            self.completed: list[int] = []
            bars.append(self)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *fault: object) -> None:
            pass

        def add_task(self, description: str, total: int) -> int:
            assert (description, total) == ("images", 4)
            return 0

        def update(self, task: int, completed: int) -> None:
            self.completed.append(completed)

    monkeypatch.setattr(module, "_bar", Bar)
    for _ in progress(range(4), "images"):
        clock[0] += 3
    assert [bar.completed for bar in bars] == [[2, 3]]
    assert capsys.readouterr().err == ""


def test_batches_of_an_earlier_run_do_not_count_for_the_rate() -> None:
    line = progress_line("batches", 60, 100, 10.0, done_before=50)
    assert line == "batches: 60 of 100, 40 left, 1 per second, about 40 s left"
