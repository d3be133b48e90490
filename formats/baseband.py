"""Complex baseband recordings of a radar: ``.npy``, ``.npz`` and MATLAB ``.mat`` files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from formats.errors import InputError
from formats.local_files import require_file
from formats.restricted_pickle import MAX_ARRAY_BYTES, read_npz

RECORDINGS = (".npy", ".npz", ".mat")
_REPLACE = "Replace the file, or take it out of the folder."
_DIMENSIONS = (
    "Give slow time (T,), range × slow time (R, T), or frames × range × Doppler (F, R, D) with zero Doppler in the "
    "middle of the last axis."
)


def read_baseband(path: str | Path, variable: str | None = None) -> NDArray[np.complex128]:
    """Read a recording as complex slow time of one or more range bins.

    Nothing in the file is run: pickled objects are refused.

    Args:
        path: A file of ``RECORDINGS``.
        variable: Name of the array in ``.npz`` and ``.mat``; None takes the only complex one.

    Returns:
        (T,) or (R, T). A matrix of one row or column is a series. Frames of range–Doppler maps are transformed back
        into slow time by the inverse Fourier transform, and joined.

    Raises:
        InputError: The file is missing or damaged, has no such array, or the array is real-valued, not finite, or of
            other dimensions.
    """
    path = require_file(path, "Check the path.")
    samples = _the_only_complex(_read_arrays(path, variable), path)
    if samples.ndim == 2:
        samples = samples.squeeze()  # MATLAB has no vectors
    if not 1 <= samples.ndim <= 3:
        raise InputError(path, f"holds an array of shape {samples.shape}", _DIMENSIONS)
    if not np.isfinite(samples).all():
        count = int((~np.isfinite(samples)).sum())
        fault = f"holds {count} of {samples.size} values that are NaN or infinite"
        raise InputError(path, fault, "Cut these parts out, or interpolate them before saving.")
    if samples.ndim == 3:
        slow_time = np.fft.ifft(np.fft.ifftshift(samples, axes=2), axis=2)
        samples = slow_time.transpose(1, 0, 2).reshape(samples.shape[1], -1)
    return samples.astype(np.complex128)


def _the_only_complex(arrays: Mapping[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    found = [name for name, array in arrays.items() if np.iscomplexobj(array)]
    if len(found) == 1:
        return arrays[found[0]]
    if found:
        fault = f"holds several complex arrays: {', '.join(found)}"
        raise InputError(path, fault, "Choose one with --variable.")
    held = ", ".join(f"{name or 'one array'} ({array.dtype})" for name, array in arrays.items()) or "no arrays"
    remedy = "Save the complex baseband I + jQ; power or a single real channel does not show the direction of motion."
    raise InputError(path, f"is real-valued: it holds {held}", remedy)


def _read_arrays(path: Path, variable: str | None) -> Mapping[str, NDArray[Any]]:
    """Read all arrays of a file, or the one that is asked for, by name; that of ``.npy`` has none."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # mapping compares the sizes of header and file
            if not isinstance(array, np.ndarray):
                raise ValueError("it is another kind of file")
            return {"": array}
        if suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
            return read_npz(path, _chosen(names, variable, path))
        return _read_mat(path, variable)
    except InputError:
        raise
    except Exception as fault:  # damaged headers raise nearly anything
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise InputError(path, f"cannot be read as {suffix}: {reason}", _REPLACE) from fault


def _read_mat(path: Path, variable: str | None) -> Mapping[str, NDArray[Any]]:
    try:
        contents = {name: int(np.prod(shape, dtype=object)) for name, shape, _ in whosmat(path)}
    except NotImplementedError as error:  # SciPy's way to say that it is an HDF5 file
        remedy = "Save it in MATLAB as version 7: save('recording.mat', 'iq', '-v7')."
        raise InputError(path, "is a MATLAB file of version 7.3 (HDF5), which is not read", remedy) from error
    names = _chosen(list(contents), variable, path)
    large = [name for name in names if contents[name] * 16 > MAX_ARRAY_BYTES]
    if large:
        fault = f"declares {contents[large[0]]} values for {large[0]!r}"
        raise InputError(path, fault, f"Save parts of at most {MAX_ARRAY_BYTES // 16} values.")
    return {name: np.asarray(value) for name, value in loadmat(path, variable_names=names).items() if name in names}


def _chosen(names: list[str], variable: str | None, path: Path) -> list[str]:
    if variable is None:
        return names
    if variable not in names:
        raise InputError(path, f"has no {variable!r}, only {', '.join(sorted(names))}", "Choose one with --variable.")
    return [variable]
