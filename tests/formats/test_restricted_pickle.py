"""Object arrays are read without running what a pickle may contain."""

from __future__ import annotations

import collections
import io
import pickle
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from formats.errors import InputError
from formats.restricted_pickle import read_npz, unpickle

VALUES = ["a", None, 3, 2.5, True, b"raw", np.float32(1.5), np.str_("né"), np.int64(-4), ("a", 1), [1, [2]]]


def objects(values: Sequence[Any], shape: tuple[int, ...] | None = None) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array if shape is None else array.reshape(shape)


def read(tmp_path: Path, array: NDArray[Any]) -> NDArray[Any]:
    np.savez(tmp_path / "a.npz", array=array)
    return read_npz(tmp_path / "a.npz", ["array"])["array"]


def test_values_come_back(tmp_path: Path) -> None:
    array = read(tmp_path, objects(VALUES))
    assert array.dtype == object
    assert array.tolist() == VALUES
    assert [type(item) for item in array] == [type(item) for item in VALUES]


def test_shapes_and_orders_come_back(tmp_path: Path) -> None:
    table = objects([*range(11), None], (3, 4))
    for array in (table, np.asfortranarray(table), table.T, table[::2], objects([])):
        found = read(tmp_path, array)
        assert found.shape == array.shape
        assert found.tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", "?", "S3", "<U2", "<c16", [("id", "<i4"), ("name", "O")]])
def test_arrays_within_arrays(tmp_path: Path, dtype: Any) -> None:
    inner = np.zeros((2, 3), dtype=dtype)
    if isinstance(dtype, list):
        inner["id"], inner["name"] = np.arange(6).reshape(2, 3), None
    else:
        inner[:] = np.arange(6).reshape(2, 3) % 2
    (found,) = read(tmp_path, objects([inner, None]))[:1]
    assert found.dtype == inner.dtype
    assert found.tolist() == inner.tolist()
    assert np.array_equal(read(tmp_path, objects([np.asfortranarray(inner), None]))[0], inner)


def test_structured_arrays_with_objects(tmp_path: Path) -> None:
    array = np.array([(1, "x"), (2, None)], dtype=[("id", "<i8"), ("name", "O")])
    assert read(tmp_path, array).tolist() == [(1, "x"), (2, None)]


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_old_module_names(protocol: int) -> None:
    stream = pickle.dumps(objects([*VALUES, np.arange(3.0)]), protocol=protocol)
    names = [stream]
    if protocol < 4:  # as NumPy 1 wrote it; newer protocols store lengths
        names.append(stream.replace(b"numpy._core.", b"numpy.core."))
    for content in names:
        found = unpickle(io.BytesIO(content), "a.npz")
        assert found[:-1].tolist() == VALUES
        assert found[-1].tolist() == [0, 1, 2]


def test_plain_arrays_need_no_pickle(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), y=np.array(["a", "b"]))
    found = read_npz(tmp_path / "a.npz", ["y", "x"])
    assert {key: value.tolist() for key, value in found.items()} == {"y": ["a", "b"], "x": [0, 1, 2]}


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


class Evaluates:
    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


def test_code_does_not_run(tmp_path: Path) -> None:
    array = objects(["fine", Malicious(tmp_path / "ran")])
    np.savez(tmp_path / "bad.npz", array=array)
    with np.load(tmp_path / "bad.npz", allow_pickle=True) as trusting:
        _ = trusting["array"]
    assert (tmp_path / "ran").exists()  # the attack works where pickles are trusted
    (tmp_path / "ran").unlink()
    with pytest.raises(InputError, match=r"bad\.npz: its pickle holds pathlib.*not allowed"):
        read_npz(tmp_path / "bad.npz", ["array"])
    np.savez(tmp_path / "worse.npz", array=objects([Evaluates()]))
    with pytest.raises(InputError, match=r"worse\.npz: its pickle holds builtins\.eval"):
        read_npz(tmp_path / "worse.npz", ["array"])
    assert not Path("ran").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("item", "named"),
    [({"a": 1}, "a dict"), ({1}, "a set"), (1j, "complex"), (print, "print"), (collections.Counter(), "Counter")],
)
def test_anything_else_is_refused(tmp_path: Path, item: object, named: str) -> None:
    with pytest.raises(InputError, match=rf"a\.npz.*{named}"):
        read(tmp_path, objects([item]))


def test_a_forged_type_reaches_no_memory() -> None:
    """Bytes given as the content of an object array would be interpreted as addresses by NumPy's own reader."""
    dtype = b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    content = array + b"(I1\n(I1\nt" + dtype + b"I00\nS'AAAAAAAA'\ntb."
    with pytest.raises(InputError, match=r"forged\.npz: its pickle is corrupt"):
        unpickle(io.BytesIO(content), "forged.npz")


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz: no such file"):
        read_npz(path, ["x"])
    np.savez(path, x=objects(VALUES * 50), y=np.arange(2000))
    with pytest.raises(InputError, match=r"a\.npz: has no 'z', only 'x', 'y'"):
        read_npz(path, ["x", "z"])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.npz: cannot be read as \.npz"):
        read_npz(path, ["x"])
    path.write_bytes(whole[:200] + bytes(300) + whole[500:])
    with pytest.raises(InputError, match=r"a\.npz: "):
        read_npz(path, ["x"])
    path.write_bytes(b"text")
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        read_npz(path, ["x"])
    with pytest.raises(InputError, match=r"cut\.npz: its pickle is corrupt"):
        unpickle(io.BytesIO(pickle.dumps(objects(VALUES))[:-40]), "cut.npz")


def nested(levels: int) -> list[Any]:
    shared: list[Any] = [1, 2]
    for _ in range(levels):
        shared = [shared, shared]
    return shared


@pytest.mark.parametrize("levels", [20, 40, 400])
def test_shared_lists_do_not_grow(tmp_path: Path, levels: int) -> None:
    """Forty lists, each twice in the next, are a kilobyte of pickle and 10¹² values."""
    start = time.monotonic()
    with pytest.raises(InputError, match=r"a\.npz: its pickle holds too many values in each other"):
        read(tmp_path, objects([nested(levels)]))
    assert time.monotonic() - start < 2


def test_shared_arrays_do_not_grow(tmp_path: Path) -> None:
    large = np.zeros(10_000)
    with pytest.raises(InputError, match=r"a\.npz: its pickle holds arrays larger than their content"):
        read(tmp_path, objects([objects([large] * 1000)] * 1000))
    assert len(read(tmp_path, objects([large, large]))) == 2


def test_types_within_types_are_refused(tmp_path: Path) -> None:
    dtype: Any = np.dtype([("a", "i1")])
    for _ in range(3):
        dtype = np.dtype([("a", dtype), ("b", dtype)])
    with pytest.raises(InputError, match=r"a\.npz"):
        read(tmp_path, objects([np.zeros(2, dtype)]))


def header(text: bytes, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (536870912,), }\n"),
        header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
        header(b"{'descr': '|S4000000000', 'fortran_order': False, 'shape': (2,), }\n"),
        header(b"{'descr': '<f8', 'shape': (\n"),
        header(b"(" * 5000),
        header(b"'''"),
        header(b"{'descr': [" + b"[" * 900 + b"\n"),
        header(b"\xff\xfe\n"),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(InputError, match=r"a\.npz: "):
        read_npz(tmp_path / "a.npz", ["x"])
