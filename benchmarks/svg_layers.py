"""Speed of converting SVG files to layer pairs, refused files, and correctness of the paint orders.

python -m benchmarks.svg_layers --svg_dir <folder> --out benchmarks/results/svg_layers_cpu.json

The paint orders are compared with the references of ``tests/support/svg_reference.py``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import statistics
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import resvg_py

from formats.atomic import write_json
from formats.svg.paint import MIN_ALPHA
from formats.svg.tree import SvgRefusedError
from prepare.layers import find_svgs, layers
from prepare.svg_workers import Conversion, convert
from tests.support.svg_reference import Agreement, SingleElements, check_paint_order


def check_sample(folder: Path, files: list[str], count: int, size: int, max_elements: int) -> dict[str, Any]:
    """Check a random sample of the files that convert and have at most ``max_elements`` elements."""
    results: dict[str, Agreement] = {}
    for name in random.Random(0).sample(files, len(files)):
        if len(results) == count:
            break
        try:
            if len(SingleElements(folder / name, size).elements) <= max_elements:
                results[name] = check_paint_order(folder / name, size)
        except (SvgRefusedError, ET.ParseError, UnicodeDecodeError):
            continue  # refused files have no orders to check
        except ValueError as error:  # the renderer is stricter with the original than with our cleaned document
            print(f"{name}: {error}")
    agreements = [result.single for result in results.values()]
    worst = sorted(results, key=lambda name: results[name].single)[:15]
    return {
        "files": len(results),
        "elements at most": max_elements,
        "elements, mean": statistics.fmean(result.elements for result in results.values()),
        "mean agreement": statistics.fmean(agreements),
        "mean agreement, files of two elements and more": statistics.fmean(
            result.single for result in results.values() if result.elements > 1
        ),
        "files below 0.99": sum(agreement < 0.99 for agreement in agreements),
        "mean agreement, 5x5": statistics.fmean(result.single_5x5 for result in results.values()),
        "mean agreement, cumulative": statistics.fmean(result.cumulative for result in results.values()),
        "worst": {name: results[name]._asdict() for name in worst},
    }


def speed(folder: Path, files: list[str], count: int, size: int) -> dict[str, Any]:
    """Measure CPU time per file, in this process, of a random sample; writing the PNG files is included."""
    times, longest = [], ("", 0.0)
    with tempfile.TemporaryDirectory() as out:
        for number, name in enumerate(random.Random(1).sample(files, min(count, len(files)))):
            start = time.process_time()
            outcome = convert(Conversion(str(folder / name), out, "all", str(number), size, MIN_ALPHA))
            seconds = time.process_time() - start
            if outcome.status == "converted":
                times.append(seconds)
                longest = max(longest, (name, seconds), key=lambda entry: entry[1])
    median = statistics.median(times)
    return {
        "files": len(times),
        "CPU seconds per file, median": median,
        "CPU seconds per file, mean": statistics.fmean(times),
        "longest": longest,
        "files per second and core, median": 1 / median,
    }


def report_of(folder: Path) -> dict[str, Any]:
    """Return the summary of the report of a prepared folder."""
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    converted = [row for row in rows if row["status"] == "converted"]
    return {
        "files": len(rows),
        "status": Counter(row["status"] for row in rows),
        "refused": dict(Counter(row["reason"] for row in rows if row["status"] == "refused").most_common()),
        "seconds of the longest file": max(float(row["seconds"]) for row in rows),
        "layers per file, median": statistics.median(int(row["layers"]) for row in converted),
    }


def convert_all(folder: Path, size: int) -> dict[str, Any]:
    """Convert the folder with ``prepare layers`` and return the summary of its report."""
    with tempfile.TemporaryDirectory() as out:
        layers(str(folder), str(Path(out) / "pairs"), size)
        return report_of(Path(out) / "pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg_dir", type=Path, required=True, help="folder of SVG files")
    parser.add_argument("--size", type=int, default=512, help="longer side in pixels in the timed conversion")
    parser.add_argument("--timed", type=int, default=400, help="number of timed files")
    parser.add_argument("--prepared", type=Path, help="output of an earlier conversion, whose report is used")
    parser.add_argument("--check", type=int, default=200, help="number of files whose paint orders are checked")
    parser.add_argument("--check_size", type=int, default=256)
    parser.add_argument("--max_elements", type=int, default=150, help="largest number of elements of a checked file")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    svgs = "/".join(arguments.svg_dir.parts[-2:])  # without the machine-specific part of the path
    figures: dict[str, Any] = {
        "device": f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "command": f"python -m benchmarks.svg_layers --svg_dir {svgs} --size {arguments.size} "
        f"--timed {arguments.timed} --check {arguments.check}",
        "resvg": resvg_py.__resvg_version__,
        "size": arguments.size,
    }
    folder = arguments.svg_dir
    files = [name for name in find_svgs(folder) if not (folder / name).is_symlink()]
    if arguments.timed:
        figures["speed"] = speed(folder, files, arguments.timed, arguments.size)
    prepared = arguments.prepared
    figures["conversion"] = report_of(prepared) if prepared else convert_all(folder, arguments.size)
    if arguments.check:
        figures["check"] = check_sample(folder, files, arguments.check, arguments.check_size, arguments.max_elements)
    print(json.dumps(figures, indent=2))
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
