"""Recordings are read as complex slow time; anything else is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from formats.baseband import read_baseband
from formats.errors import InputError


def series(count: int = 32) -> NDArray[np.complex128]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(count) + 1j * rng.standard_normal(count)


def write(path: Path, **arrays: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, next(iter(arrays.values())))
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        savemat(path, arrays)
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.mat"])
def test_series_of_every_format(tmp_path: Path, name: str) -> None:
    assert np.array_equal(read_baseband(write(tmp_path / name, iq=series())), series())


def test_the_complex_array_is_found_among_others_or_named(tmp_path: Path) -> None:
    for name in ("a.npz", "a.mat"):
        path = write(tmp_path / name, iq=series(), time=np.arange(32.0))
        assert np.array_equal(read_baseband(path), series())
        path = write(tmp_path / name, iq=series(), other=series()[::-1])
        with pytest.raises(InputError, match=f"{name}: holds several complex arrays.*--variable"):
            read_baseband(path)
        assert np.array_equal(read_baseband(path, "other"), series()[::-1])
        with pytest.raises(InputError, match="has no 'third', only iq, other"):
            read_baseband(path, "third")


def test_matrices_keep_their_range_bins_and_frames_become_slow_time(tmp_path: Path) -> None:
    matrix = np.stack([series(24), 2 * series(24)])
    assert np.array_equal(read_baseband(write(tmp_path / "a.npy", iq=matrix)), matrix)
    frames = matrix.reshape(2, 3, 8).transpose(1, 0, 2)
    maps = np.fft.fftshift(np.fft.fft(frames, axis=2), axes=2)
    assert np.allclose(read_baseband(write(tmp_path / "a.npy", iq=maps)), matrix)


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.ones(8), "is real-valued: it holds one array .float64.*Save the complex baseband"),
        (np.array([1 + 1j, np.nan]), "holds 1 of 2 values that are NaN"),
        (np.ones((2, 2, 2, 2), np.complex64), r"holds an array of shape \(2, 2, 2, 2\).*Give slow time"),
        (np.array([None, 1j]), "cannot be read as .npy: .*Python objects"),
    ],
)
def test_arrays_that_are_no_baseband_are_refused(tmp_path: Path, array: NDArray[Any], fault: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=f"a.npy: {fault}"):
        read_baseband(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.mat"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, iq=series(4096))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{name}: cannot be read as {path.suffix}: .*Replace the file"):
        read_baseband(path)
    with pytest.raises(InputError, match="no such file"):
        read_baseband(tmp_path / f"missing{path.suffix}")


def test_hdf5_files_of_matlab_are_explained(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match=r"version 7.3 \(HDF5\).*'-v7'"):
        read_baseband(tmp_path / "a.mat")
