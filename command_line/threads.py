"""Number of threads that PyTorch uses: as many as there are free cores.

Threads of one operation wait for each other. With as many threads as cores, a single busy core delays all of
them at every operation: two threads on two busy cores train five to ten times slower than one.
"""

from __future__ import annotations

import functools
import math
import os
import time
from pathlib import Path

import torch

from formats.errors import check_settings

SAMPLE_SECONDS = 0.25
PROC_STAT, CGROUP = Path("/proc/stat"), Path("/sys/fs/cgroup")


def allowed_cores() -> set[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def core_limit() -> float:
    """Return the number of cores that a container's CPU quota (cgroup version 2 or 1) allows; inf without one."""
    try:
        if (CGROUP / "cpu.max").is_file():
            quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (CGROUP / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (CGROUP / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii")
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError):  # no cgroups, or the quota is "max"
        return math.inf


def _idle_and_total(cores: set[int]) -> dict[int, tuple[int, int]]:
    """Return idle and total time of each core since the machine started, in clock ticks; empty if unknown."""
    times = {}
    try:
        lines = PROC_STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    for line in lines:
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu" and int(name[3:]) in cores:
            ticks = [int(ticks) for ticks in fields[:8]]  # user nice system idle iowait irq softirq steal
            times[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return times


def free_cores() -> float:
    """Measure how many of the allowed cores are idle, over a quarter of a second.

    Without ``/proc/stat`` the load average of the last minute is used.
    """
    cores = allowed_cores()
    before = _idle_and_total(cores)
    if before:
        time.sleep(SAMPLE_SECONDS)
        after = _idle_and_total(cores)
        idle = sum((after[c][0] - before[c][0]) / max(1, after[c][1] - before[c][1]) for c in before if c in after)
    else:
        idle = len(cores) - os.getloadavg()[0] if hasattr(os, "getloadavg") else len(cores)
    return min(idle, core_limit())


@functools.cache
def default_threads() -> int:
    """Return PyTorch's default number of threads, about one per physical core, which is never exceeded by itself."""
    return torch.get_num_threads()


def choose_threads(num_threads: int | None, num_processes: int = 1) -> tuple[int | None, str]:
    """Choose the number of threads of this process.

    Args:
        num_threads: The option ``--num_threads``; None chooses.
        num_processes: Processes on this machine, which share the free cores.

    Returns:
        The number of threads, None to keep PyTorch's default, and a line for the log.

    Raises:
        InputError: ``num_threads`` is less than 1.
    """
    if num_threads is not None:
        check_settings({"--num_threads": ("at least 1", num_threads >= 1)})
        return num_threads, f"threads: {num_threads}, as set by --num_threads{_advice(num_threads, num_processes)}"
    if "OMP_NUM_THREADS" in os.environ:
        number = torch.get_num_threads()
        return None, f"threads: {number}, as set by OMP_NUM_THREADS{_advice(number, num_processes)}"
    free = free_cores()
    chosen = max(1, min(default_threads(), round(free) // num_processes))
    each = " each" if num_processes > 1 else ""
    line = f"threads: {chosen}{each}, since {max(free, 0):.1f} of {len(allowed_cores())} cores are free"
    return chosen, f"{line}; --num_threads or OMP_NUM_THREADS sets another number"


def _advice(num_threads: int, num_processes: int) -> str:
    """Return what would be faster than threads that wait for busy cores, or nothing."""
    if num_threads == 1:
        return ""
    free = free_cores()
    fewer = max(1, round(free) // num_processes)
    if fewer >= num_threads:
        return ""
    return f"; --num_threads {fewer} would be faster, since {max(free, 0):.1f} of {len(allowed_cores())} cores are free"


def set_threads(num_threads: int | None, num_processes: int = 1) -> str:
    """Set the number of threads by :func:`choose_threads`, and return the line for the log."""
    chosen, line = choose_threads(num_threads, num_processes)
    if chosen is not None:
        default_threads()  # read before it changes
        torch.set_num_threads(chosen)
        if num_processes > 1:  # the processes that Lightning starts inherit it
            os.environ["OMP_NUM_THREADS"] = str(chosen)
    return line
