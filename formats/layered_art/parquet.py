"""PrismLayersPro rows in parquet files: one row per sample, with the images of its layers in columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from formats.errors import InputError
from formats.images import on_white, open_image
from formats.layered_art.base import (
    REMEDY,
    ArtSample,
    LayeredArt,
    LayeredImage,
    box_on_canvas,
    check_layer_size,
    painted_orders,
)
from formats.layered_art.pairs import MAX_LAYERS
from formats.layered_art.stack import LayerStack, StackLayer
from formats.local_files import require_file

CATEGORY_COLUMNS = ("style_category", "style", "category")
PIECE = re.compile(r"[-_]\d+[-_]of[-_]\d+$")  # end of the names of a table's parts


@dataclass
class _OpenGroup:
    """The row group that is being read.

    Attributes:
        path: Path of the file.
        group: Number of the row group.
        process: Process that opened it; each process opens its own.
        rows: Remaining rows.
        next_row: Number of the next of them within the group.
    """

    path: Path
    group: int
    process: int
    rows: Iterator[dict[str, Any]]
    next_row: int = 0


class LayeredParquet(LayeredArt):
    """Rows with ``whole_image``, ``layer_count``, and per layer from below ``layer_NN`` and ``layer_NN_box``.

    An image is a struct {bytes, path} or plain bytes. The category is a column ``style_category``, or else the file's
    name. Files are memory-mapped and read row by row. Reading rows in order is cheap; a random row costs half a row
    group on average, so that row groups should be small for training.
    """

    COLUMNS: ClassVar[re.Pattern[str]] = re.compile(r"whole_image|layer_count|layer_\d+(_box)?")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Recognise a folder with a parquet file."""
        return any(root.rglob("*.parquet"))

    def find(self) -> Iterator[ArtSample]:
        """List every row of every file; only names and categories are read."""
        self._starts: dict[Path, list[int]] = {}
        self._columns: dict[Path, list[str]] = {}
        self._open: _OpenGroup | None = None
        for path in sorted(self.root.rglob("*.parquet")):
            with _readable(path), _opened(path) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                self._starts[path] = np.cumsum([0, *sizes]).tolist()
                columns = file.schema_arrow.names
                if "whole_image" not in columns:
                    raise InputError(path, "has no column whole_image", "Give PrismLayersPro rows.")
                self._columns[path] = [name for name in columns if self.COLUMNS.fullmatch(name)]
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
        """Return the file with the row."""
        return [sample.path]

    def read(self, sample: ArtSample) -> LayeredImage:
        """Decode the row's images and compute paint orders from the alpha of its layers."""
        row, where = self._row(sample), f"{sample.path} row {sample.row}"
        image = on_white(_decode(row["whole_image"], f"{where} whole_image"))
        count = self._count(row, where)
        orders = painted_orders((image.shape[0], image.shape[1]), self._layers(row, count, where))
        return LayeredImage(image, orders, max(1, count))

    def _count(self, row: dict[str, Any], where: str) -> int:
        count = row.get("layer_count")
        if count is None:
            count = next(number for number in itertools.count() if row.get(f"layer_{number:02d}") is None)
        if not isinstance(count, int) or not 0 <= count <= MAX_LAYERS:
            fault = f"has the layer_count {count!r}, which is not a whole number from 0 to {MAX_LAYERS}"
            raise InputError(where, fault, REMEDY)
        return count

    def _layers(self, row: dict[str, Any], count: int, where: str) -> Iterator[tuple[str, NDArray[np.uint8], Any]]:
        for name in (f"layer_{number:02d}" for number in range(count)):
            yield f"{where} {name}", _decode(row.get(name), f"{where} {name}"), row.get(f"{name}_box")

    def _row(self, sample: ArtSample) -> dict[str, Any]:
        starts = self._starts[sample.path]
        group = int(np.searchsorted(starts, sample.row, side="right")) - 1
        row_in_group, opened = sample.row - starts[group], self._open
        location = (sample.path, group, os.getpid())
        if opened is None or (opened.path, opened.group, opened.process) != location or opened.next_row > row_in_group:
            opened = self._open = _OpenGroup(*location, rows=_rows(sample.path, group, self._columns[sample.path]))
        with _readable(sample.path):
            for row in opened.rows:
                opened.next_row += 1
                if opened.next_row > row_in_group:
                    return {name: part.as_py() for name, part in row.items()}
        raise InputError(sample.path, f"ends before its row {sample.row}", REMEDY)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open file, since every process opens its own."""
        return self.__dict__ | {"_open": None}


class LayeredParquetStacks(LayeredParquet):
    """The same rows with their base image and captions, for conversion."""

    COLUMNS = re.compile(r"(whole|base)_(image|caption)|layer_count|layer_\d+(_box|_caption)?")

    def read_stack(self, sample: ArtSample) -> LayerStack:
        """Decode all images of a row.

        Raises:
            InputError: A column is missing or broken, or a layer does not fit its box.
        """
        row, where = self._row(sample), f"{sample.path} row {sample.row}"
        whole = _decode(row["whole_image"], f"{where} whole_image")
        size = whole.shape[0], whole.shape[1]
        base = np.full_like(whole, 255)
        if row.get("base_image") is not None:
            base = _decode(row["base_image"], f"{where} base_image")
        layers = []
        for number, (place, pixels, given) in enumerate(self._layers(row, self._count(row, where), where)):
            box = box_on_canvas(place, [0, 0, size[1], size[0]] if given is None else given, size[1], size[0])
            check_layer_size(place, pixels, box, size)
            layers.append(StackLayer(str(row.get(f"layer_{number:02d}_caption") or ""), pixels, box))
        captions = (str(row.get(f"{name}_caption") or "") for name in ("whole", "base"))
        return LayerStack(whole, base, layers, *captions)


def _opened(path: Path) -> pq.ParquetFile:
    with _readable(path):
        return pq.ParquetFile(require_file(path, REMEDY), memory_map=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Name the file in faults of reading it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damaged pages and metadata raise nearly anything
        raise InputError(path, f"cannot be read as parquet: {error}", "Replace the file.") from error


def _rows(path: Path, group: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group; values are converted to Python objects on access only."""
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=columns):
            yield {name: batch.column(name)[0] for name in batch.schema.names}


def _decode(content: Any, where: str) -> NDArray[np.uint8]:
    """Decode an image of a row as RGBA (H, W, 4)."""
    encoded = content.get("bytes") if isinstance(content, dict) else content
    if not isinstance(encoded, bytes) or not encoded:
        raise InputError(where, "does not hold an image", REMEDY)
    with open_image(encoded, where, REMEDY) as image:
        return np.asarray(image.convert("RGBA"))
