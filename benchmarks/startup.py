"""Startup time of the command line, relative to importing PyTorch and Lightning.

Example::

    python benchmarks/startup.py --out benchmarks/results/startup_cpu.json
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from formats.atomic import write_json

CLI = str(Path(__file__).resolve().parents[1] / "cli.py")
IMPORTS = "import torch, lightning"
COMMANDS = {
    IMPORTS: ["-c", IMPORTS],
    "--help": [CLI, "--help"],
    "fit --help": [CLI, "fit", "--help"],
    "prepare --help": [CLI, "prepare", "--help"],
    "pipeline demo --help": [CLI, "pipeline", "demo", "--help"],
}
Times = dict[str, dict[str, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each command")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()

    times: Times = {name: {"elapsed": [], "cpu": []} for name in COMMANDS}
    for repeat in range(arguments.repeats + 1):
        for name, words in COMMANDS.items():
            elapsed, cpu = measure(words)
            if repeat:  # the first round fills the disk cache
                times[name]["elapsed"].append(elapsed)
                times[name]["cpu"].append(cpu)
    results = summarise(times)
    for name, row in results.items():
        print(f"{name:24}", *(f"{key} {value:.2f}" for key, value in row.items()), sep="  ")
    if arguments.out:
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        write_json(arguments.out, {"command": " ".join(["python", *sys.argv]), **machine, "results": results})


def measure(words: list[str]) -> tuple[float, float]:
    """Run Python with these arguments; return the elapsed time and the CPU time in seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    elapsed, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def summarise(times: Times) -> dict[str, dict[str, float]]:
    """Return the median seconds of each command, and its CPU time over that of the imports."""
    medians = {name: {key: statistics.median(values) for key, values in row.items()} for name, row in times.items()}
    imports = medians[IMPORTS]["cpu"]
    return {
        name: {"seconds": row["elapsed"], "cpu_seconds": row["cpu"], "cpu_over_imports": row["cpu"] / imports}
        for name, row in medians.items()
    }


if __name__ == "__main__":
    main()
