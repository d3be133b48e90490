"""PrismLayersPro rows in parquet files: one row per sample, with the pictures of its layers in columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from formats.errors import InputError
from formats.images import on_white, open_image
from formats.layered_art.base import REMEDY, ArtSample, LayeredArt, LayeredPicture, painted_orders

CATEGORY_COLUMNS = ("style_category", "style", "category")
PIECE = re.compile(r"[-_]\d+[-_]of[-_]\d+$")  # of a file's name, where a table is cut into several


@dataclass
class _OpenGroup:
    """The row group that was read last, and how far.

    Attributes:
        path: Of the file.
        group: Number of the row group.
        process: That opened it; another one opens its own.
        rows: What is left of it.
        next_row: Within the group, that ``rows`` gives next.
    """

    path: Path
    group: int
    process: int
    rows: Iterator[dict[str, Any]]
    next_row: int = 0


class LayeredParquet(LayeredArt):
    """Rows with ``whole_image``, ``layer_count``, and per layer from below ``layer_NN`` and ``layer_NN_box``.

    A picture is a struct {bytes, path} or plain bytes. The category stands in a column ``style_category``, or else in
    the file's name. Files are mapped to memory and read row by row, as far as the wanted one. Rows in order cost what
    they hold, one at random half a row group: for training at full speed, row groups should be small.
    """

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """By a parquet file."""
        return any(root.rglob("*.parquet"))

    def find(self) -> Iterator[ArtSample]:
        """Every row of every file, of which only names and categories are read."""
        self._starts: dict[Path, list[int]] = {}
        self._columns: dict[Path, list[str]] = {}
        self._open: _OpenGroup | None = None
        for path in sorted(self.root.rglob("*.parquet")):
            with _opened(path) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                self._starts[path] = np.cumsum([0, *sizes]).tolist()
                columns = file.schema_arrow.names
                if "whole_image" not in columns:
                    raise InputError(path, "has no column whole_image", "Give PrismLayersPro rows.")
                self._columns[path] = [name for name in columns if name == "whole_image" or _is_of_layer(name)]
                category_column = next((name for name in CATEGORY_COLUMNS if name in columns), None)
                known = [name for name in (category_column, "id") if name in columns]
                table = file.read(known).to_pydict() if known else {}
            rows = self._starts[path][-1]
            categories = table.get(category_column) or [None] * rows
            ids = table.get("id") or [None] * rows
            fallback = PIECE.sub("", path.stem)
            for row, (category, identity) in enumerate(zip(categories, ids, strict=True)):
                name = str(identity) if identity is not None else f"{path.stem}_{row:06d}"
                yield ArtSample(str(category or fallback), name, path, row)

    def files(self, sample: ArtSample) -> list[Path]:
        """The file with the row."""
        return [sample.path]

    def read(self, sample: ArtSample) -> LayeredPicture:
        """Decode the row's pictures and lay the layers' alpha over one another."""
        row, where = self._row(sample), f"{sample.path} row {sample.row}"
        image = on_white(_decode(row["whole_image"], f"{where} whole_image"))
        count = row.get("layer_count")
        if count is None:
            count = next(number for number in itertools.count() if row.get(f"layer_{number:02d}") is None)
        orders = painted_orders((image.shape[0], image.shape[1]), self._layers(row, int(count), where))
        return LayeredPicture(image, orders, max(1, int(count)))

    def _layers(self, row: dict[str, Any], count: int, where: str) -> Iterator[tuple[str, NDArray[np.uint8], Any]]:
        for name in (f"layer_{number:02d}" for number in range(count)):
            yield f"{where} {name}", _decode(row.get(name), f"{where} {name}"), row.get(f"{name}_box")

    def _row(self, sample: ArtSample) -> dict[str, Any]:
        starts = self._starts[sample.path]
        group = int(np.searchsorted(starts, sample.row, side="right")) - 1
        wanted, opened = sample.row - starts[group], self._open
        here = (sample.path, group, os.getpid())
        if opened is None or (opened.path, opened.group, opened.process) != here or opened.next_row > wanted:
            opened = self._open = _OpenGroup(*here, rows=_rows(sample.path, group, self._columns[sample.path]))
        try:
            for row in opened.rows:
                opened.next_row += 1
                if opened.next_row > wanted:
                    return {name: part.as_py() for name, part in row.items()}
        except (pa.ArrowException, OSError) as fault:
            raise InputError(sample.path, f"row {sample.row} cannot be read: {fault}", REMEDY) from fault
        raise InputError(sample.path, f"ends before its row {sample.row}", REMEDY)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, of which every process has its own."""
        return self.__dict__ | {"_open": None}


def _is_of_layer(name: str) -> bool:
    return name == "layer_count" or re.fullmatch(r"layer_\d+(_box)?", name) is not None


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as fault:
        raise InputError(path, f"cannot be read as parquet: {fault}", "Replace the file.") from fault


def _rows(path: Path, group: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of a group one after the other, whose values are made Python's only when asked for."""
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=columns):
            yield {name: batch.column(name)[0] for name in batch.schema.names}


def _decode(content: Any, where: str) -> NDArray[np.uint8]:
    """Decode a picture of a row as RGBA (H, W, 4)."""
    encoded = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(encoded, bytes) or not encoded:
        raise InputError(where, "does not hold an image", REMEDY)
    with open_image(encoded, where, REMEDY) as image:
        return np.asarray(image.convert("RGBA"))
