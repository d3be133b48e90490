"""Conversion of tensors, of any device and precision, and arrays to numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def float_array(values: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Return numbers of any shape as a float64 array on the CPU, detached from the graph."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def bool_array(values: Tensor | ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of any shape as a boolean array on the CPU."""
    if isinstance(values, Tensor):
        return values.detach().cpu().bool().numpy()
    return np.asarray(values, dtype=np.bool_)
