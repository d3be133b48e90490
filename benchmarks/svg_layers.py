"""How fast vector art becomes layer pairs, what is refused, and whether the paint orders are right.

python benchmarks/svg_layers.py --svg_dir <folder> --out benchmarks/results/svg_layers.json

The orders are checked against a construction that shares with them the canvas, the renderer and the alpha that counts,
but neither their reading of styles nor their colours: the elements of the file are drawn one by one, all others hidden
by ``display: none``, in their own paint and anti-aliased, and the last one that covers a pixel of its empty canvas has
it. (Masked, filtered and patterned elements are drawn alone by both.) Besides, the drawing is built up element by
element on one canvas and any change of a colour counts; there, an element that repeats the colour below it is missed.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import os
import platform
import random
import statistics
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from formats.atomic import write_json
from formats.svg.document import SvgRefusedError, read_svg
from formats.svg.paint_order import draw_svg
from formats.svg.rendering import fit_canvas
from prepare.layers import find_svgs, layers
from prepare.svg_workers import Conversion, convert

NS, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
DRAWABLE = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "use", "image"}
CONTAINERS = {"svg", "g", "a", "switch"}
HIDDEN = "display:none !important;"
CHANGED = 0.04  # alpha; the step that counts as visible

ET.register_namespace("", NS[1:-1])
ET.register_namespace("xlink", XLINK[1:-1])


class OneByOne:
    """A file whose drawable elements can be hidden one by one."""

    def __init__(self, path: Path, size: int) -> None:
        root = ET.fromstring(path.read_bytes())
        for name, value in fit_canvas(read_svg(path), path, size, with_fonts=True).items():
            root.set(name, value)
        self.root = root
        self.has_text = any(element.tag == f"{NS}text" for element in root.iter())
        self._definitions = ET.SubElement(root, f"{NS}defs")
        self._ids = {element.get("id"): element for element in root.iter() if element.get("id")}
        self._text = ET.tostring(root, encoding="unicode")
        self.elements: list[ET.Element] = []
        self._hide_all(root)

    def _hide_all(self, parent: ET.Element) -> None:
        """Hide every drawable element; one that others refer to by a group around it, so that they can show it."""
        for place, child in enumerate(list(parent)):
            tag = child.tag.removeprefix(NS) if isinstance(child.tag, str) else ""
            if tag in CONTAINERS:
                self._hide_all(child)
            elif tag in DRAWABLE:
                if tag == "use":
                    self._copy_target(child)
                hidden = child
                if f"#{child.get('id')}" in self._text:
                    hidden = parent[place] = ET.Element(f"{NS}g")
                    for condition in ("systemLanguage", "requiredFeatures", "requiredExtensions"):
                        if child.get(condition) is not None:
                            hidden.set(condition, child.get(condition, ""))
                    hidden.append(child)
                hidden.set("style", HIDDEN + hidden.get("style", ""))
                self.elements.append(hidden)

    def _copy_target(self, use: ET.Element) -> None:
        """Let a use show a copy, of which nothing is ever hidden."""
        key = f"{XLINK}href" if use.get(f"{XLINK}href") else "href"
        target = self._ids.get(use.get(key, "").strip()[1:])
        if target is None or any(element is use for element in target.iter()):
            return
        twin = copy.deepcopy(target)
        twin.set("id", f"twin-{len(self._definitions)}")
        for element in twin.iter():
            _show(element)
        self._definitions.append(twin)
        use.set(key, f"#{twin.get('id')}")

    def alone(self) -> Iterator[NDArray[np.uint8]]:
        """The elements' pictures, (H, W, 4) RGBA, each on an empty canvas."""
        for element in self.elements:
            _show(element)
            yield self._picture()
            element.set("style", HIDDEN + element.get("style", ""))

    def added_up(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures with no element, one, two …, (H, W, 4) RGBA."""
        yield self._picture()
        for element in self.elements:
            _show(element)
            yield self._picture()

    def _picture(self) -> NDArray[np.uint8]:
        text = ET.tostring(self.root, encoding="unicode")
        png = resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=not self.has_text, dpi=96.0)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def _show(element: ET.Element) -> None:
    if "style" in element.attrib:
        element.set("style", element.get("style", "").replace(HIDDEN, ""))


def check(path: Path, size: int) -> dict[str, Any]:
    """Shares of the pixels off the edges at which the fast orders agree with both slow constructions."""
    numbers = draw_svg(path, size).numbers.astype(np.int64)
    file = OneByOne(path, size)
    alone, added = np.zeros_like(numbers), np.zeros_like(numbers)
    for number, picture in enumerate(file.alone(), 1):
        alone[picture[..., 3] > CHANGED * 255] = number
    below: NDArray[np.uint8] | None = None
    for number, picture in enumerate(file.added_up()):
        if below is not None:
            added[(picture != below).any(axis=2)] = number
        below = picture
    return {
        "elements": len(file.elements),
        "agreement": agreement(numbers, alone, 3),
        "agreement 5x5": agreement(numbers, alone, 5),
        "agreement added up": agreement(numbers, added, 3),
    }


def agreement(ours: NDArray[np.int64], theirs: NDArray[np.int64], side: int) -> float:
    """Share of equal pixels among those around which one of the maps has one value within ``side`` × ``side``."""
    inside = np.zeros(ours.shape, dtype=bool)
    for numbers in (ours, theirs):
        inside |= maximum_filter(numbers, side) == minimum_filter(numbers, side)
    return float((ours == theirs)[inside].mean()) if inside.any() else 1.0


def check_some(folder: Path, files: list[str], wanted: int, size: int, most_elements: int) -> dict[str, Any]:
    """Check files drawn by chance that convert and have few enough elements to be drawn one by one."""
    results: dict[str, dict[str, Any]] = {}
    for name in random.Random(0).sample(files, len(files)):
        if len(results) == wanted:
            break
        try:
            if len(OneByOne(folder / name, size).elements) <= most_elements:
                results[name] = check(folder / name, size)
        except (SvgRefusedError, ET.ParseError, UnicodeDecodeError):
            continue  # what is refused has no orders to check
        except ValueError as fault:  # the renderer is stricter than our reader, which gives it what it understands
            print(f"{name}: {fault}")
    agreements = [result["agreement"] for result in results.values()]
    worst = sorted(results, key=lambda name: results[name]["agreement"])[:15]
    return {
        "files": len(results),
        "elements at most": most_elements,
        "elements, mean": statistics.fmean(result["elements"] for result in results.values()),
        "mean agreement": statistics.fmean(agreements),
        "mean agreement, files of two elements and more": statistics.fmean(
            result["agreement"] for result in results.values() if result["elements"] > 1
        ),
        "files below 0.99": sum(agreement < 0.99 for agreement in agreements),
        "mean agreement, 5x5": statistics.fmean(result["agreement 5x5"] for result in results.values()),
        "mean agreement, added up": statistics.fmean(result["agreement added up"] for result in results.values()),
        "worst": {name: results[name] for name in worst},
    }


def speed(folder: Path, files: list[str], wanted: int, size: int) -> dict[str, Any]:
    """CPU time per file of image, orders and their PNG files, in this process, over files drawn by chance."""
    times, longest = [], ("", 0.0)
    with tempfile.TemporaryDirectory() as out:
        for number, name in enumerate(random.Random(1).sample(files, min(wanted, len(files)))):
            start = time.process_time()
            outcome = convert(Conversion(str(folder / name), out, "all", str(number), size))
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
    """What the report of a prepared folder comes to."""
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
    """Convert the folder with the tool itself, and say what its report comes to."""
    with tempfile.TemporaryDirectory() as out:
        layers(str(folder), str(Path(out) / "pairs"), size)
        return report_of(Path(out) / "pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg_dir", type=Path, required=True, help="folder of SVG files")
    parser.add_argument("--size", type=int, default=512, help="longer side in pixels, of the timed conversion")
    parser.add_argument("--timed", type=int, default=400, help="files that are timed")
    parser.add_argument("--prepared", type=Path, help="made of them before: its report is taken, nothing converted")
    parser.add_argument("--check", type=int, default=200, help="files whose orders are checked one element at a time")
    parser.add_argument("--check_size", type=int, default=256)
    parser.add_argument("--most_elements", type=int, default=150, help="checked files have so many at most")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    svgs = "/".join(arguments.svg_dir.parts[-2:])  # without the rest of the path, which is the machine's
    figures: dict[str, Any] = {
        "device": f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "command": f"python benchmarks/svg_layers.py --svg_dir {svgs} --size {arguments.size} "
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
        figures["check"] = check_some(folder, files, arguments.check, arguments.check_size, arguments.most_elements)
    print(json.dumps(figures, indent=2))
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
