"""Convert layered files of designers, and PrismLayersPro's parquet files, to training data."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from formats.atomic import write_text
from formats.errors import InputError
from formats.layered_art.open_raster import read_open_raster
from formats.layered_art.parquet import LayeredParquetStacks
from formats.layered_art.photoshop import read_psd
from formats.layered_art.stack import METADATA, LayerStack, write_parsed_sample
from formats.progress import progress
from prepare.layers import category_and_name
from prepare.output_folder import claim_folder

READERS: dict[str, Callable[[Path], LayerStack]] = {
    ".psd": read_psd,
    ".psb": read_psd,
    ".ora": read_open_raster,
}
Sample = tuple[str, str, str, Callable[[], LayerStack]]  # file, category, name, and how to read it


def parsed_dataset(source: str, out: str, category: str | None = None, min_layers: int = 1) -> None:
    """Convert PSD, PSB, OpenRaster and parquet files to a dataset of layers for training.

    Writes ``<out>/<category>/<name>/`` with ``metadata.json``, ``00_whole_image.png``, ``01_base_image.png``,
    ``02_layer_00.png``, …, and ``<out>/report.csv`` with a row per sample: ``converted``, or ``refused`` with the
    reason. The category is that of the parquet row, or else the first folder below ``source``. Hidden layers are left
    out; a bottom layer without holes becomes the base image. A second run converts what is not there yet.

    Train on it with ``--data.data_dir <out>``.

    Args:
        source: Folder of ``.psd``, ``.psb``, ``.ora`` and ``.parquet`` files, searched with its subfolders.
        out: Folder of the dataset: new, empty, or from a run with the same settings.
        category: Category of all samples, in place of their own.
        min_layers: Refuse samples with fewer layers above the base.

    Raises:
        InputError: There are no such files, a parquet file cannot be read, or no sample could be converted.
    """
    root, folder = Path(source), Path(out)
    if not root.is_dir():
        raise InputError(source, "no such folder", "Name the folder of the layered files with --source.")
    if min_layers < 1:
        raise InputError("--min_layers", f"is {min_layers}", "Give 1 or more.")
    samples = list(_find(root, category))
    if not samples:
        raise InputError(source, "no .psd, .psb, .ora or .parquet file was found in it", "Name another folder.")
    settings = {"source": str(root.resolve()), "category": category, "min_layers": min_layers}
    claim_folder(folder, settings, "parsed_dataset.json")
    rows: list[tuple[str, str, str, str]] = []
    try:
        for file, group, name, read in progress(samples, "samples"):
            rows.append((file, f"{group}/{name}", *_convert(folder / group / name, read, group, name, min_layers)))
    finally:
        _write_report(folder / "report.csv", rows)
    refused = [row for row in rows if row[2] == "refused"]
    for row in refused[:10]:
        print(f"refused: {row[3]}")
    if len(refused) == len(rows):
        raise InputError(source, f"none of {len(rows)} samples could be converted", f"See {folder / 'report.csv'}.")
    print(f"{folder}: {len(rows) - len(refused)} converted, {len(refused)} refused; see {folder / 'report.csv'}")


def _find(root: Path, category: str | None) -> Iterator[Sample]:
    """List all samples, with distinct names within their categories."""
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in READERS):
        file = path.relative_to(root)
        if not any(part.startswith(".") for part in file.parts):
            own, name = category_and_name(str(file))
            yield str(file), category or own, name, functools.partial(READERS[path.suffix.lower()], path)
    if any(root.rglob("*.parquet")):
        art = LayeredParquetStacks(root)
        for sample in art.samples:
            where = f"{sample.path.relative_to(root)} row {sample.row}"
            name = f"{_plain(sample.name)}_{sample.row:06d}"
            yield where, category or _plain(sample.category), name, functools.partial(art.read_stack, sample)


def _plain(name: str) -> str:
    """Return a name that can be a folder's."""
    return re.sub(r"[^\w.-]+", "_", name)[:100].lstrip(".") or "unnamed"


def _convert(
    folder: Path, read: Callable[[], LayerStack], category: str, name: str, min_layers: int
) -> tuple[str, str]:
    """Convert a sample unless it is there, and return its status and the reason for a refusal."""
    if (folder / METADATA).is_file():
        return "converted", ""
    try:
        stack = read()
    except InputError as error:
        return "refused", str(error)
    if len(stack.layers) < min_layers:
        return "refused", f"{category}/{name}: {len(stack.layers)} layers above the base; {min_layers} are needed"
    write_parsed_sample(folder, name, category, stack)
    return "converted", ""


def _write_report(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "sample", "status", "reason"))
    writer.writerows(rows)
    write_text(path, text.getvalue().encode(errors="backslashreplace").decode())
