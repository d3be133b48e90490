"""Read ``.npz`` files with pickled object arrays without running code from the pickles.

NumPy's own constructors are not admitted either: they accept a forged type description, and through it any memory
address as an object. Small substitutes collect the content of the pickle, and arrays are built from plain values.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from formats.errors import InputError
from formats.local_files import require_file

MAX_DEPTH = 32  # of lists, tuples and arrays in each other
# Values and bytes that come of one byte of a pickle. A pickle writes a list once and refers to it as often as it likes:
# forty lists, each twice in the next, are a kilobyte and 10¹² values.
VALUES_PER_BYTE, BYTES_PER_BYTE = 8, 64
SPARE_VALUES, SPARE_BYTES = 10_000, 2**20
MAX_ARRAY_BYTES = 2**31  # a compressed file of 2 MB can declare as much

REMEDY = "Save the file again with plain arrays of numbers and strings, or get it from a source you trust."


def read_npz(path: str | Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays ``keys`` of a ``.npz`` file.

    Object arrays may hold arrays, strings, bytes, numbers, booleans, None, lists and tuples.

    Raises:
        InputError: The file is missing, corrupt or not a ``.npz`` file; a key is missing; or a pickle holds anything
            else, which is not run.
    """
    path = require_file(path, "Check the path, and that the dataset is complete.")
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy") for name in archive.namelist()}
            missing = [key for key in keys if key not in present]
            if missing:
                fault = f"has no {', '.join(map(repr, missing))}, only {', '.join(map(repr, sorted(present)))}"
                raise InputError(path, fault, "Check that this is the right file.")
            return {key: _read_member(archive, key, path) for key in keys}
    except InputError:
        raise
    except Exception as fault:  # a damaged header is parsed as Python, which can raise nearly anything
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise InputError(path, f"cannot be read as .npz: {reason}", "Replace the file.") from fault


def _read_member(archive: zipfile.ZipFile, key: str, path: Path) -> NDArray[Any]:
    name = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
    with archive.open(name) as stream:
        # Version 3 differs from 2 only in the encoding of field names, which does not matter here.
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            array = unpickle(stream, path)
            if not isinstance(array, np.ndarray):
                raise InputError(path, f"{key!r} is pickled as {type(array).__name__}, not as an array", REMEDY)
            return array.reshape(shape)
    declared, held = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size
    if declared > held or held > MAX_ARRAY_BYTES:
        fault = f"declares {declared} bytes for {key!r}, of which it holds {held}; at most {MAX_ARRAY_BYTES} are read"
        raise InputError(path, fault, "Replace the file.")
    with archive.open(name) as stream:
        return npy.read_array(stream, allow_pickle=False)


def unpickle(stream: IO[bytes], path: str | Path) -> Any:
    """Read one pickle of arrays, strings, bytes, numbers, booleans, None, lists and tuples.

    Args:
        stream: Stream at the start of the pickle.
        path: File named in errors.

    Raises:
        InputError: The pickle is corrupt, names or holds anything else, or grows beyond its budget when it is read.
    """
    start = stream.tell()
    try:
        content = _Unpickler(stream).load()
        return _Converter(stream.tell() - start).plain(content)
    except _RefusedError as refused:
        raise InputError(path, f"its pickle holds {refused}, which is not allowed", REMEDY) from None
    except Exception as fault:  # a corrupt pickle can raise nearly anything
        raise InputError(
            path, f"its pickle is corrupt: {type(fault).__name__}: {fault}", "Replace the file."
        ) from fault


class _RefusedError(Exception):
    pass


class _Dtype:
    """Content of a pickled ``numpy.dtype``: its code such as ``f8``, byte order and fields."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Literal["|", "=", "<", ">"] = "|"
        self.names: tuple[str, ...] | None = None
        self.fields: dict[str, tuple[_Dtype, int]] = {}

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.order, subarray, self.names, fields, self.size = state[:6]
        if subarray is not None:
            raise _RefusedError("an array type within a type")
        self.fields = fields or {}

    def numpy(self) -> np.dtype[Any]:
        if self.names is None:
            return self._simple()
        # Types within types are not admitted: forty of them in each other would have 2⁴⁰ fields.
        formats = [self.fields[name][0]._simple() for name in self.names]
        offsets = [self.fields[name][1] for name in self.names]
        # NumPy checks that fields are within the item, and that no object overlaps another field.
        return np.dtype({"names": list(self.names), "formats": formats, "offsets": offsets, "itemsize": self.size})

    def _simple(self) -> np.dtype[Any]:
        if self.names is not None or self.code[:1] not in tuple("biufcSUO"):
            raise _RefusedError(f"the type {self.code!r}")
        dtype = np.dtype(self.code)
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


class _Array:
    """Content of a pickled ``numpy.ndarray``."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.shape, self.dtype, self.fortran, self.data = state[-4:]


def _dtype(code: str, align: object, copy: object) -> _Dtype:
    return _Dtype(code)


def _ndarray(*_: object) -> Any:
    raise _RefusedError("a call of numpy.ndarray")


def _reconstruct(subtype: object, shape: object, code: object) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, order == "F", data))
    return array


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    numpy_dtype = dtype.numpy()
    if numpy_dtype.hasobject:
        raise _RefusedError("a scalar of objects")
    return np.frombuffer(data, numpy_dtype, count=1)[0]


def _encode(text: str, codec: str) -> bytes:
    return text.encode("latin1")  # how old pickles write bytes


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _ndarray,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


class _Converter:
    """Converts substitutes to arrays within a budget that follows from the length of the pickle.

    Args:
        length: Length of the pickle in bytes.
    """

    def __init__(self, length: int) -> None:
        self.values = SPARE_VALUES + VALUES_PER_BYTE * length
        self.bytes = SPARE_BYTES + BYTES_PER_BYTE * length

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Convert a value, and refuse what is not an array, string, number, None, list or tuple."""
        self.values -= 1
        if depth > MAX_DEPTH or self.values < 0:
            raise _RefusedError("too many values in each other")
        if isinstance(value, _Array):
            return self._array(value, depth)
        if type(value) in (list, tuple):
            return type(value)([self.plain(item, depth + 1) for item in value])
        if value is None or type(value) in (str, bytes, int, float, bool) or isinstance(value, np.generic):
            return value
        raise _RefusedError(f"a {type(value).__name__}")

    def _array(self, content: _Array, depth: int) -> NDArray[Any]:
        dtype = content.dtype.numpy()
        if not dtype.hasobject:
            array = np.ndarray(content.shape, dtype, content.data, order="F" if content.fortran else "C")
            self._spend(array.nbytes)
            return array.copy()
        self._spend(len(content.data) * dtype.itemsize)
        objects = np.empty(len(content.data), dtype)  # listed in C order, regardless of the order in memory
        for place, item in enumerate(content.data):
            objects[place] = self.plain(item, depth + 1)
        return objects.reshape(content.shape)

    def _spend(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise _RefusedError("arrays larger than their content")
