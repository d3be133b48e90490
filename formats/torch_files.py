"""Read files written by ``torch.save`` without running code from them and without taking damaged data.

``torch.load`` compares no checksums, and with ``mmap`` it reads as many bytes as a tensor needs, wherever the record
of the tensor ends: a shortened record is read as the bytes of its neighbour. The archive is therefore checked first.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formats.errors import InputError
from formats.local_files import require_file

BLOCK = 2**20
# Bytes per element by the name of the storage's class.
ITEM_SIZES = {
    **dict.fromkeys(("ComplexDoubleStorage",), 16),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("QInt8Storage", "QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage"), 1),
}


def read_torch(path: str | Path, remedy: str) -> Any:
    """Read a file of tensors and plain values; tensors are on the CPU, memory-mapped where the format allows it.

    Apart from tensors and plain values only ``argparse.Namespace`` is accepted, since published training checkpoints
    hold their arguments.

    Args:
        path: The file.
        remedy: Remedy suggested by errors about damage.

    Raises:
        InputError: The file is missing, not a regular file, damaged, or holds other Python objects.
    """
    path = require_file(path, remedy)
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            verify_archive(path, remedy)
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Files written before torch 1.6 are not zip archives and cannot be mapped.
            content = torch.load(path, "cpu", weights_only=True, mmap=is_zip)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            fault = f"holds a Python object ({refused[1].rstrip('.,')}); reading it could run code"
            raise InputError(path, fault, "If you trust the file, save only its state dict, as safetensors.") from error
        raise InputError(path, "is damaged or not a checkpoint", remedy) from error
    for name, tensor in tensors_in(content):
        size = tensor.numel() * tensor.element_size()
        if tensor.layout == torch.strided and size > tensor.untyped_storage().nbytes():
            raise InputError(path, f"holds a tensor {name} that is larger than its data", remedy)
    return content


def tensors_in(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of nested mappings, lists and tuples, each with its keys joined by dots; shared parts once."""
    seen: set[int] = set()
    pending: list[tuple[str, Any]] = [(name, content)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, Tensor):
            yield where, value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            pending += [(f"{where}.{key}" if where else str(key), part) for key, part in items]


def verify_archive(path: Path, remedy: str) -> None:
    """Check the checksum of every record of an archive, and the size of every record of a tensor.

    A file is read once in a process: it is remembered by its path, its size, its time and a hash of its directory,
    which holds all checksums.

    Raises:
        InputError: The archive is damaged, or a record has another size than its tensor.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = [(i.filename, i.file_size, i.CRC, i.header_offset, i.compress_type) for i in archive.infolist()]
        status = path.stat()
        directory = hashlib.sha256(repr(records).encode()).hexdigest()
        fault = _archive_fault(path.resolve(), status.st_size, status.st_mtime_ns, directory)
    except Exception as error:  # a damaged archive can raise nearly anything
        raise InputError(path, "is damaged or not a checkpoint", remedy) from error
    if fault:
        raise InputError(path, fault, remedy)


def first_undamaged(paths: Iterable[Path]) -> tuple[Path | None, list[Path]]:
    """Return the first undamaged archive of ``paths``, and the damaged ones before it."""
    damaged: list[Path] = []
    for path in paths:
        try:
            verify_archive(path, "")
        except InputError:
            damaged.append(path)
        else:
            return path, damaged
    return None, damaged


@functools.lru_cache(maxsize=256)
def _archive_fault(path: Path, size: int, time_ns: int, directory: str) -> str:
    """Describe the first fault of an archive; empty without one. Size, time and directory are only keys."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            return "is damaged: two of its records have one name"
        sizes = {}
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                return f"is not as torch.save writes it: the record {info.filename} is compressed"
            try:
                with archive.open(info) as record:  # compares the checksum at the end
                    while record.read(BLOCK):
                        pass
            except Exception as error:  # a checksum that differs, or a record that cannot be found
                return f"is damaged: the record {info.filename} cannot be read ({error})"
            sizes[info.filename] = info.file_size
        tables = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(tables) != 1:
            return "is damaged or not a checkpoint"
        folder = tables[0].removesuffix("data.pkl")
        with archive.open(tables[0]) as stream:
            for key, expected in storage_sizes(stream.read()).items():
                found = sizes.get(f"{folder}data/{key}")
                if found is None:
                    return f"is damaged: the record of the tensor data {key} is missing"
                if found != expected:
                    return f"is damaged: the tensor data {key} has {found} bytes, not {expected}"
    return ""


class _Inert:
    """Takes the place of every object in a pickle whose storages are listed."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def add(self, item: Any) -> None:
        pass


class _StorageLister(pickle.Unpickler):
    """Collects the sizes of storages; no class or function that the pickle names is imported."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.sizes: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, count = pid
        size = ITEM_SIZES.get(storage.__name__)
        if kind != "storage" or size is None or not isinstance(count, int):
            raise pickle.UnpicklingError(f"unknown storage {storage.__name__}")
        if self.sizes.setdefault(str(key), count * size) != count * size:
            raise pickle.UnpicklingError(f"two sizes of the storage {key}")
        return _Inert()


def storage_sizes(content: bytes) -> dict[str, int]:
    """List the storages that the pickle of an archive refers to, with their sizes in bytes, without running it.

    Raises:
        pickle.UnpicklingError: It refers to storages of an unknown kind; other errors where it is damaged.
    """
    lister = _StorageLister(content)
    lister.load()
    return lister.sizes
