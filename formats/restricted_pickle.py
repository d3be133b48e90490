"""Read ``.npz`` files with pickled object arrays without running code from the pickles.

NumPy's own constructors are not admitted either: they accept a forged type description, and through it any memory
address as an object. Small substitutes collect the content of the pickle, and arrays are built from plain values.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from formats.errors import InputError

REMEDY = "Save the file again with plain arrays of numbers and strings, or get it from a source you trust."


def read_npz(path: str | Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays ``keys`` of a ``.npz`` file.

    Object arrays may hold arrays, strings, bytes, numbers, booleans, None, lists and tuples.

    Raises:
        InputError: The file is missing, corrupt or not a ``.npz`` file; a key is missing; or a pickle holds anything
            else, which is not run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, and that the data set is complete.")
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy") for name in archive.namelist()}
            missing = [key for key in keys if key not in present]
            if missing:
                fault = f"has no {', '.join(map(repr, missing))}, only {', '.join(map(repr, sorted(present)))}"
                raise InputError(path, fault, "Check that this is the right file.")
            return {key: _read_member(archive, key, path) for key in keys}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(path, f"cannot be read as .npz: {fault}", "Replace the file.") from fault


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
    with archive.open(name) as stream:
        return npy.read_array(stream, allow_pickle=False)


def unpickle(stream: IO[bytes], path: str | Path) -> Any:
    """Read one pickle of arrays, strings, bytes, numbers, booleans, None, lists and tuples.

    Args:
        stream: Stream at the start of the pickle.
        path: File named in errors.

    Raises:
        InputError: The pickle is corrupt, or names or holds anything else.
    """
    try:
        return _plain(_Unpickler(stream).load())
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
        if self.names is not None:
            formats = [self.fields[name][0].numpy() for name in self.names]
            offsets = [self.fields[name][1] for name in self.names]
            # NumPy checks that fields are within the item, and that no object overlaps another field.
            return np.dtype({"names": list(self.names), "formats": formats, "offsets": offsets, "itemsize": self.size})
        if self.code[:1] not in tuple("biufcSUO"):
            raise _RefusedError(f"the type {self.code!r}")
        dtype = np.dtype(self.code)
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


class _Array:
    """Content of a pickled ``numpy.ndarray``."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.shape, self.dtype, self.fortran, self.data = state[-4:]

    def numpy(self) -> NDArray[Any]:
        dtype = self.dtype.numpy()
        if not dtype.hasobject:
            return np.ndarray(self.shape, dtype, self.data, order="F" if self.fortran else "C").copy()
        array = np.empty(len(self.data), dtype)  # objects are listed in C order, regardless of the order in memory
        for place, item in enumerate(self.data):
            array[place] = _plain(item)
        return array.reshape(self.shape)


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


def _plain(value: Any) -> Any:
    """Convert substitutes to arrays, and refuse what is not an array, string, number, None, list or tuple."""
    if isinstance(value, _Array):
        return value.numpy()
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    if value is None or type(value) in (str, bytes, int, float, bool) or isinstance(value, np.generic):
        return value
    raise _RefusedError(f"a {type(value).__name__}")
