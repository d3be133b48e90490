"""Convert a folder of SVG files to images and their paint orders."""

from __future__ import annotations

import csv
import io
import os
import statistics
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from formats.atomic import write_text
from formats.errors import InputError
from formats.layered_art.pairs import layer_pair
from formats.local_files import is_within, read_csv
from formats.progress import progress
from formats.svg.paint import MIN_ALPHA
from prepare.near_duplicates import near_duplicates
from prepare.output_folder import claim_folder
from prepare.svg_workers import Conversion, Outcome, convert_files

MIN_SIZE, MAX_SIZE = 16, 4096
SECONDS_BETWEEN_REPORTS = 10.0
MAX_NAME_BYTES = 150  # temporary names are longer, and file systems allow 255
NO_CATEGORY = "all"  # category of files directly in the folder


def layers(
    svg_dir: str,
    out: str,
    size: int = 512,
    num_workers: int | None = None,
    seconds_per_file: float = 10.0,
    memory_per_file_gb: float = 2.0,
    min_alpha: float = MIN_ALPHA,
    min_layers: int = 1,
    drop_near_duplicates: bool = False,
    random_canvas: bool = False,
    crop_margin: float | None = None,
) -> None:
    """Convert a folder of SVG files to pairs of an image and the paint order of every pixel.

    Writes ``<out>/images/<category>/<name>.png``, opaque on white, and ``<out>/orders/<category>/<name>.png``, 16 bits:
    0 where nothing is painted, else the order of the topmost element among the visible ones, from 1 at the bottom.
    The category is the first folder below ``svg_dir``; the names of deeper folders become part of the name.

    ``<out>/report.csv`` has a row per SVG file: ``converted``; ``refused``, with the reason; or ``skipped`` for a
    symbolic link to a drawing that is converted under another name. A second run with the same settings converts only
    files that are new or newer than their pair, and retries refused files.

    Args:
        svg_dir: Folder of ``.svg`` and ``.svgz`` files, searched with its subfolders.
        out: Folder of the pairs: new, empty, or from a run with the same settings.
        size: Longer side of the images in pixels; the other follows from the drawing.
        num_workers: Processes; by default one per core.
        seconds_per_file: A file that takes more CPU time is refused, or 20 times as long on the clock.
        memory_per_file_gb: A file that needs more memory is refused, in 10⁹ bytes; the process itself takes 0.2 of it.
        min_alpha: Paint of this alpha (0…1) or less covers nothing, and the pixel belongs to what it tints. At 0.04
            every visible gloss and shadow is a layer; at 0.2 faint ones count as shading of what is below them.
        min_layers: Refuse drawings with fewer visible layers; 2 leaves out those without any order.
        drop_near_duplicates: Refuse drawings that look almost like an earlier one, in the order of their paths.
        random_canvas: Draw on a colour that follows from the name of the file, so that white is not always background;
            near-duplicates are then found only if their canvases are alike.
        crop_margin: Crop to what is painted and this share (0…1) of its longer side around it; None keeps the canvas.

    Raises:
        InputError: A setting is out of range, no SVG file was found, or ``out`` holds other data.
    """
    num_workers = num_workers or len(os.sched_getaffinity(0))
    limits: dict[str, tuple[float, float, float]] = {
        "size": (size, MIN_SIZE, MAX_SIZE),
        "num_workers": (num_workers, 1, 1024),
        "seconds_per_file": (seconds_per_file, 0.05, 3600),
        "min_alpha": (min_alpha, 0, 0.99),
        "min_layers": (min_layers, 1, 1000),
        "crop_margin": (crop_margin or 0, 0, 1),
        "memory_per_file_gb": (memory_per_file_gb, 0.5, 1024),
    }
    for setting, (number, low, high) in limits.items():
        if not low <= number <= high:
            raise InputError(f"--{setting}", f"{number} is out of range", f"Give a number from {low} to {high}.")
    source, folder = Path(svg_dir).resolve(), Path(out)
    if not source.is_dir():
        raise InputError(svg_dir, "no such folder", "Name the folder of the SVG files with --svg_dir.")
    files = find_svgs(source)
    if not files:
        raise InputError(svg_dir, "no .svg or .svgz file was found in it", "Name the folder of the SVG files.")
    options: dict[str, Any] = {"size": size, "min_alpha": min_alpha, "min_layers": min_layers}
    options |= {"random_canvas": random_canvas, "crop_margin": crop_margin}
    record = {"svg_dir": str(source), **options, "drop_near_duplicates": drop_near_duplicates}
    claim_folder(folder, record, "layers.json")

    report = _Report(folder)
    drawings = {
        file: Conversion(str(source / file), str(folder), *category_and_name(file), **options) for file in files
    }
    originals = _originals(source, files)
    pending = {}
    for file, conversion in drawings.items():
        if originals[file] != file:
            report.rows[file] = Outcome("skipped", "symbolic link", originals[file])
        elif not report.is_up_to_date(file, conversion):
            pending[file] = conversion
    report.drop_all_but(set(files), set(files) - pending.keys())
    up_to_date = len([row for row in report.rows.values() if row.status == "converted"])
    by_source = {conversion.source: file for file, conversion in pending.items()}
    try:
        converted = convert_files(
            pending.values(), min(num_workers, max(1, len(pending))), seconds_per_file, memory_per_file_gb
        )
        for conversion, outcome in progress(converted, "drawings", len(pending)):
            report.add(by_source[conversion.source], outcome)
            if outcome.status == "refused":
                _remove_pair(conversion)
        if drop_near_duplicates:
            _drop_near_duplicates(report, drawings)
    finally:
        report.write()
    print(report.summary(up_to_date))


def _drop_near_duplicates(report: _Report, drawings: dict[str, Conversion]) -> None:
    """Refuse the drawings that look almost like one that comes before them."""
    pairs = {
        layer_pair(drawing.out, drawing.category, drawing.name).image: file
        for file, drawing in drawings.items()
        if file in report.rows and report.rows[file].status == "converted"
    }
    for image, earlier in near_duplicates(list(pairs)).items():
        file = pairs[image]
        report.rows[file] = replace(
            report.rows[file], status="refused", reason="near-duplicate", detail=f"of {pairs[earlier]}"
        )
        _remove_pair(drawings[file])


def find_svgs(folder: Path) -> list[str]:
    """List the SVG files in a folder by relative path, sorted, without hidden files and folders behind links."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        drawings = (name for name in names if name.lower().endswith((".svg", ".svgz")) and not name.startswith("."))
        found.extend(str(relative / name) for name in drawings)
    return sorted(found)


def category_and_name(file: str) -> tuple[str, str]:
    """Return the category and the name of a drawing by its path in the folder; distinct paths give distinct names.

    Where joining folders could make two names equal, a checksum of the path is appended: a name depends only on its own
    path, so that it does not change when files are added.
    """
    *folders, last = Path(file).parts
    category, *deeper = folders or [NO_CATEGORY]
    stem, _, suffix = last.rpartition(".")
    parts = [*deeper, stem]
    name = "--".join(parts)
    is_plain = (
        suffix == "svg"
        and file.isprintable()  # bytes that are not UTF-8 are not printable
        and (not folders or category != NO_CATEGORY)
        and not any("--" in part or part[:1] in ("-", ".") or part[-1:] == "-" for part in parts)
    )
    if not is_plain or len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = os.fsencode(name)[:MAX_NAME_BYTES].decode(errors="ignore").lstrip(".")
        name += f"--{zlib.crc32(os.fsencode(file)):08x}"
    return category, name


def _originals(source: Path, files: list[str]) -> dict[str, str]:
    """Map each file to the first one with the same drawing: itself, or the file that a symbolic link leads to."""
    links = {}
    for file in files:
        if (source / file).is_symlink():
            with suppress(OSError, RuntimeError):  # a link to itself, which is refused when it is read
                links[file] = (source / file).resolve()
    first = {source / file: file for file in files if file not in links}
    originals = {}
    for file in files:
        originals[file] = first.setdefault(links[file], file) if file in links else file
    return originals


def _remove_pair(conversion: Conversion) -> None:
    """Remove the pair that an earlier run made from a file that is now refused."""
    for path in layer_pair(conversion.out, conversion.category, conversion.name):
        path.unlink(missing_ok=True)


class _Report:
    """``report.csv``: the outcome of every file, written regularly so that an interrupted run can be resumed."""

    columns = ("path", *(field.name for field in fields(Outcome)))

    def __init__(self, folder: Path) -> None:
        self.path = folder / "report.csv"
        self.rows = dict(self._read())
        self._written = time.monotonic()
        self.new: list[Outcome] = []

    def _read(self) -> Iterator[tuple[str, Outcome]]:
        if not self.path.is_file():
            return
        for row in read_csv(self.path, "Remove it to convert all files again."):
            cells = {name: row.get(name) or "" for name in self.columns}
            try:
                layers, width, height = (int(cells[name]) for name in ("layers", "width", "height"))
                outcome = Outcome(cells["status"], cells["reason"], cells["detail"], layers, width, height)
                outcome = replace(outcome, seconds=float(cells["seconds"]), lost_texts=int(cells["lost_texts"]))
            except ValueError:
                continue  # an edited row: its file is converted again
            if is_within(cells["path"]):
                yield cells["path"], outcome

    def is_up_to_date(self, file: str, conversion: Conversion) -> bool:
        """Return whether a file was converted and has not changed since."""
        if file not in self.rows or self.rows[file].status != "converted":
            return False
        pair = layer_pair(conversion.out, conversion.category, conversion.name)
        if not all(path.is_file() for path in pair):
            return False
        return Path(conversion.source).stat().st_mtime <= min(path.stat().st_mtime for path in pair)

    def drop_all_but(self, present: set[str], kept: set[str]) -> None:
        """Remove the rows of files that are converted again, and rows and pairs of files that no longer exist."""
        for file in self.rows.keys() - present:
            for path in layer_pair(self.path.parent, *category_and_name(file)):
                path.unlink(missing_ok=True)
        self.rows = {file: row for file, row in self.rows.items() if file in kept}

    def add(self, file: str, outcome: Outcome) -> None:
        """Record the outcome of a file."""
        self.rows[file] = outcome
        self.new.append(outcome)
        if time.monotonic() - self._written > SECONDS_BETWEEN_REPORTS:
            self.write()

    def write(self) -> None:
        """Write the rows so far, sorted by path."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"path": file, **asdict(self.rows[file])} for file in sorted(self.rows))
        write_text(self.path, text.getvalue().encode(errors="backslashreplace").decode())
        self._written = time.monotonic()

    def summary(self, up_to_date: int) -> str:
        """Return a summary of the run for the terminal."""
        counts = Counter(row.status for row in self.rows.values())
        reasons = Counter(row.reason for row in self.rows.values() if row.status == "refused")
        lines = [f"{self.path.parent}: {counts['converted']} converted, {counts['refused']} refused"]
        if up_to_date:
            lines[0] += f" ({up_to_date} already up to date)"
        if counts["skipped"]:
            lines[0] += f", {counts['skipped']} symbolic links skipped"
        lines.extend(f"  refused: {reason}: {number}" for reason, number in reasons.most_common())
        lost = [row.lost_texts for row in self.rows.values() if row.lost_texts]
        if lost:
            lines.append(
                f"  warning: {sum(lost)} texts in {len(lost)} files are missing, as no installed font has their "
                "characters; see the column lost_texts"
            )
        seconds = [row.seconds for row in self.new if row.status == "converted"]
        if seconds:
            lines.append(f"  median {1000 * statistics.median(seconds):.0f} ms per file and process; see {self.path}")
        return "\n".join(lines)
