"""Number of threads by free cores."""

import os
from pathlib import Path

import pytest
import torch

from command_line import threads
from formats.errors import InputError


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of four cores, without a limit."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "allowed_cores", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(threads, "default_threads", lambda: 4)
    monkeypatch.setattr(threads, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "PROC_STAT", tmp_path / "stat")


def write_stat(path: Path, idle: list[int], busy: list[int]) -> None:
    lines = [f"cpu{core} {busy[core]} 0 0 {idle[core]} 0 0 0 0 0 0" for core in range(len(idle))]
    path.write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 5"]))


@pytest.mark.parametrize(
    ("busy", "expected"), [([0, 0, 0, 0, 50], 4), ([50, 50, 0, 0, 0], 2), ([50, 50, 50, 50, 0], 0)]
)
def test_idle_cores_are_counted(
    busy: list[int], expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth core is not this process's."""
    write_stat(tmp_path / "stat", [100] * 5, [100] * 5)
    idle = [150 - ticks for ticks in busy]
    monkeypatch.setattr(
        "command_line.threads.time.sleep",
        lambda seconds: write_stat(tmp_path / "stat", idle, [100 + ticks for ticks in busy]),
    )
    assert threads.free_cores() == pytest.approx(expected)


def test_load_average_is_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert threads.free_cores() == 2.5


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_quota_of_a_container(files: dict[str, str], limit: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text + "\n")
    assert threads.core_limit() == limit


@pytest.mark.parametrize(
    ("free", "processes", "expected"), [(3.8, 1, 4), (3.4, 1, 3), (0.2, 1, 1), (3.9, 2, 2), (1.2, 2, 1), (9, 1, 4)]
)
def test_threads_follow_the_free_cores(
    free: float, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: free)
    chosen, line = threads.choose_threads(None, processes)
    assert chosen == expected
    assert line.startswith(
        f"threads: {expected}{' each' if processes > 1 else ''}, since {free:.1f} of 4 cores are free"
    )


def test_the_user_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 4.0)
    assert threads.choose_threads(3) == (3, "threads: 3, as set by --num_threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert threads.choose_threads(3)[0] == 3
    assert threads.choose_threads(None) == (None, "threads: 2, as set by OMP_NUM_THREADS")
    with pytest.raises(InputError, match="--num_threads: must be at least 1"):
        threads.choose_threads(0)


@pytest.mark.parametrize(
    ("threads_set", "free", "processes", "fewer"), [(4, 1.6, 1, 2), (2, 0.2, 1, 1), (2, 3.0, 2, 1), (1, 0.0, 1, None)]
)
def test_more_threads_than_free_cores_are_pointed_out(
    threads_set: int, free: float, processes: int, fewer: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: free)
    chosen, line = threads.choose_threads(threads_set, processes)
    assert chosen == threads_set
    advice = f"; --num_threads {fewer} would be faster, since {free:.1f} of 4 cores are free"
    assert line == f"threads: {threads_set}, as set by --num_threads{advice if fewer else ''}"


def test_threads_are_set_and_processes_inherit_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 4.0)
    before = torch.get_num_threads()
    try:
        threads.set_threads(None)
        assert torch.get_num_threads() == 4
        assert "OMP_NUM_THREADS" not in os.environ
        threads.set_threads(None, num_processes=2)
        assert torch.get_num_threads() == 2
        assert os.environ.pop("OMP_NUM_THREADS") == "2"
    finally:
        torch.set_num_threads(before)
