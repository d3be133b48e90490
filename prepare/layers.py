"""Turn a folder of SVG files into images and their paint orders."""

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

from formats.atomic import write_text
from formats.errors import InputError
from formats.layered_art.pairs import layer_pair
from prepare.output_folder import claim_folder
from prepare.svg_workers import Conversion, Outcome, convert_files

MIN_SIZE, MAX_SIZE = 16, 4096
SECONDS_BETWEEN_REPORTS = 10.0
LONGEST_NAME = 150  # bytes; temporary names are longer, and file systems end at 255
NO_CATEGORY = "all"  # of files directly in the folder


def layers(
    svg_dir: str,
    out: str,
    size: int = 512,
    num_workers: int | None = None,
    seconds_per_file: float = 10.0,
    memory_per_file_gb: float = 2.0,
    min_alpha: float = 0.04,
    min_layers: int = 1,
    skip_duplicates: bool = False,
) -> None:
    """Turn a folder of SVG files into pairs of an image and the paint order of every pixel.

    Writes ``<out>/images/<category>/<name>.png``, opaque on white, and ``<out>/orders/<category>/<name>.png``, 16 bits:
    0 where nothing is painted, else the place of the topmost element among those that can be seen, from 1 at the
    bottom. The category is the first folder below ``svg_dir``; the names of deeper folders become part of the name.

    ``<out>/report.csv`` has a row per SVG file: ``converted``; ``refused``, with the name of the reason; or ``skipped``
    where it is a symbolic link to a drawing that is converted under another name. Run again with the same settings,
    it converts what is new or newer than its pair and tries refused files again; nothing else is touched.

    Args:
        svg_dir: Folder of ``.svg`` and ``.svgz`` files, with folders in it.
        out: Folder of the pairs: new, empty, or begun with the same settings.
        size: Longer side of the pictures in pixels; the other follows from the drawing.
        num_workers: Processes; by default one per core.
        seconds_per_file: A file that takes more CPU time is refused, or 20 times as long on the clock.
        memory_per_file_gb: A file for which a process needs more (10⁹ bytes, 0.2 of them its own) is refused.
        min_alpha: Paint of this alpha (0…1) or less covers nothing, and the pixel belongs to what it tints. At 0.04
            every gloss and shadow that can be seen is a layer; at 0.3 they count as shading of what is below them.
        min_layers: Drawings in which fewer layers can be seen are left out; 2 drops those without any order.
        skip_duplicates: Leave out drawings that look almost like one before them.

    Raises:
        InputError: A setting is out of range, there is no SVG file, or ``out`` holds something else.
    """
    num_workers = num_workers or len(os.sched_getaffinity(0))
    limits: dict[str, tuple[float, float, float]] = {
        "size": (size, MIN_SIZE, MAX_SIZE),
        "num_workers": (num_workers, 1, 1024),
        "seconds_per_file": (seconds_per_file, 0.05, 3600),
        "memory_per_file_gb": (memory_per_file_gb, 0.5, 1024),
        "min_alpha": (min_alpha, 0, 0.99),
        "min_layers": (min_layers, 1, 1000),
    }
    for setting, (number, low, high) in limits.items():
        if not low <= number <= high:
            raise InputError(f"--{setting}", f"{number} is out of range", f"Give a number from {low} to {high}.")
    source, folder = Path(svg_dir).resolve(), Path(out)
    if not source.is_dir():
        raise InputError(svg_dir, "there is no such folder", "Name the folder of the SVG files with --svg_dir.")
    files = find_svgs(source)
    if not files:
        raise InputError(svg_dir, "there is no .svg or .svgz file in it", "Name the folder of the SVG files.")
    claim_folder(folder, {"svg_dir": str(source), "size": size, "min_alpha": min_alpha}, "layers.json")

    report = _Report(folder)
    drawings = {file: Conversion(str(source / file), str(folder), *category_and_name(file), size, min_alpha) for file in files}
    originals = _originals(source, files)
    wanted = {}
    for file, conversion in drawings.items():
        if originals[file] != file:
            report.rows[file] = Outcome("skipped", "symbolic link", originals[file])
        elif not report.keeps(file, conversion):
            wanted[file] = conversion
    report.drop_others(files, wanted)
    kept = len([row for row in report.rows.values() if row.status == "converted"])
    by_source = {conversion.source: file for file, conversion in wanted.items()}
    try:
        for conversion, outcome in convert_files(
            wanted.values(), min(num_workers, max(1, len(wanted))), seconds_per_file, memory_per_file_gb
        ):
            report.add(by_source[conversion.source], outcome)
            if outcome.status == "refused":
                _remove_pair(conversion)
    except OSError as fault:
        raise InputError(folder, f"a pair cannot be written: {fault}", "Make room and run again.") from fault
    finally:
        report.write()
    print(report.summary(kept))


def find_svgs(folder: Path) -> list[str]:
    """Paths of the SVG files in a folder, relative to it, sorted, but for what is hidden or in folders behind links."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        drawings = (name for name in names if name.lower().endswith((".svg", ".svgz")) and not name.startswith("."))
        found.extend(str(relative / name) for name in drawings)
    return sorted(found)


def category_and_name(file: str) -> tuple[str, str]:
    """The category and the name of a drawing by its path in the folder; distinct paths give distinct names.

    Where joining folders could make two names equal, a checksum of the path is appended: a name depends on its own
    path alone, so that it stays when files are added.
    """
    *folders, last = Path(file).parts
    category, *deeper = folders or [NO_CATEGORY]
    stem, _, suffix = last.rpartition(".")
    parts = [*deeper, stem]
    name = "--".join(parts)
    is_plain = (
        suffix == "svg"
        and file.isprintable()  # bytes that are no UTF-8 are not
        and (not folders or category != NO_CATEGORY)
        and not any("--" in part or part[:1] in ("-", ".") or part[-1:] == "-" for part in parts)
    )
    if not is_plain or len(os.fsencode(name)) > LONGEST_NAME:
        name = os.fsencode(name)[:LONGEST_NAME].decode(errors="ignore").lstrip(".")
        name += f"--{zlib.crc32(os.fsencode(file)):08x}"
    return category, name


def _originals(source: Path, files: list[str]) -> dict[str, str]:
    """For each file the one that it shows the same drawing as: itself, or the file that a symbolic link leads to."""
    links = {}
    for file in files:
        if (source / file).is_symlink():
            with suppress(OSError, RuntimeError):  # a link to itself, which reading will refuse
                links[file] = (source / file).resolve()
    first = {source / file: file for file in files if file not in links}
    originals = {}
    for file in files:
        originals[file] = first.setdefault(links[file], file) if file in links else file
    return originals


def _remove_pair(conversion: Conversion) -> None:
    """Remove the pair of an earlier run of a file that has since come to be refused."""
    for path in layer_pair(conversion.out, conversion.category, conversion.name):
        path.unlink(missing_ok=True)


class _Report:
    """``report.csv``: what became of every file, written now and then so that a killed run goes on from there."""

    columns = ("path", *(field.name for field in fields(Outcome)))

    def __init__(self, folder: Path) -> None:
        self.path = folder / "report.csv"
        self.rows = dict(self._read())
        self._written = time.monotonic()
        self.new: list[Outcome] = []

    def _read(self) -> Iterator[tuple[str, Outcome]]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                try:
                    layers, width, height = (int(row[name]) for name in ("layers", "width", "height"))
                    outcome = Outcome(row["status"], row["reason"], row["detail"], layers, width, height)
                    yield row["path"], replace(outcome, seconds=float(row["seconds"]))
                except (KeyError, TypeError, ValueError):
                    continue  # a row that someone has edited: its file is converted again

    def keeps(self, file: str, conversion: Conversion) -> bool:
        """Whether a file was converted and has not changed since."""
        if file not in self.rows or self.rows[file].status != "converted":
            return False
        pair = layer_pair(conversion.out, conversion.category, conversion.name)
        if not all(path.is_file() for path in pair):
            return False
        return Path(conversion.source).stat().st_mtime <= min(path.stat().st_mtime for path in pair)

    def drop_others(self, files: list[str], wanted: dict[str, Conversion]) -> None:
        """Forget files that are gone, with the pairs made of them, and those that are converted anew."""
        for file in self.rows.keys() - set(files):
            for path in layer_pair(self.path.parent, *category_and_name(file)):
                path.unlink(missing_ok=True)
        present = set(files) - wanted.keys()
        self.rows = {file: row for file, row in self.rows.items() if file in present}

    def add(self, file: str, outcome: Outcome) -> None:
        """Note what became of a file."""
        self.rows[file] = outcome
        self.new.append(outcome)
        if time.monotonic() - self._written > SECONDS_BETWEEN_REPORTS:
            self.write()

    def write(self) -> None:
        """Write the rows so far, in the order of their paths."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"path": file, **asdict(self.rows[file])} for file in sorted(self.rows))
        write_text(self.path, text.getvalue().encode(errors="backslashreplace").decode())
        self._written = time.monotonic()

    def summary(self, kept: int) -> str:
        """What the run came to, for the terminal."""
        counts = Counter(row.status for row in self.rows.values())
        reasons = Counter(row.reason for row in self.rows.values() if row.status == "refused")
        lines = [f"{self.path.parent}: {counts['converted']} converted, {counts['refused']} refused"]
        if kept:
            lines[0] += f" ({kept} were there already)"
        if counts["skipped"]:
            lines[0] += f", {counts['skipped']} symbolic links skipped"
        lines.extend(f"  refused: {reason}: {number}" for reason, number in reasons.most_common())
        seconds = [row.seconds for row in self.new if row.status == "converted"]
        if seconds:
            lines.append(f"  median {1000 * statistics.median(seconds):.0f} ms per file and process; see {self.path}")
        return "\n".join(lines)
