"""Deterministic weights for the parity tests: every tensor is filled from its own published name.

The files in ``tests/parity`` hold the outputs of the published networks with these weights, so that the weights need
not be stored.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch


def filled_state_dict(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """Fill tensors of ``shapes`` (published name → shape) in float32, each from the CRC-32 of its name.

    Kernels and tables are normal with a spread of 1.3/√fan_in (4-D) or 0.8/√fan_in (2-D, 3-D, 5-D and up),
    where fan_in is the product of all sizes but the first; norm weights are near 1, everything else near 0. The last
    layer of a DPT head (``output_conv2.2``) has small values, as its output goes through an exponential.
    """
    return {name: _filled(name, tuple(shape)) for name, shape in shapes.items()}


def _filled(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = np.asarray(generator.standard_normal(shape, dtype=np.float32))
    if len(shape) >= 2:
        kernel_spread = 0.05 if "output_conv2.2" in name else 1.3
        spread = kernel_spread if len(shape) == 4 else 0.8
        z = z * np.float32(spread / math.sqrt(math.prod(shape[1:])))
    elif name.endswith(("weight", "gamma")):
        z = 1 + np.float32(0.05) * z
    else:
        z = np.float32(0.02) * z
    return torch.from_numpy(np.asarray(z, dtype=np.float32))
