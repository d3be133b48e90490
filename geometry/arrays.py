"""Tensors of any device and precision, and arrays, taken alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def float_array(values: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Return numbers of any shape as float64 in memory; a tensor's graph and device are left behind."""
    if isinstance(values, Tensor):
        return values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def bool_array(values: Tensor | ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of any shape as booleans in memory."""
    if isinstance(values, Tensor):
        return values.detach().cpu().bool().numpy()
    return np.asarray(values, dtype=np.bool_)
