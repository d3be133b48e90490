"""Read state dicts from checkpoint files without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from formats.errors import InputError
from formats.hub_files import local_file
from formats.local_files import require_file
from formats.torch_files import read_torch

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
NESTED_UNDER = ("ema", "model", "state_dict")  # papers report the weight average, so it comes first
WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.

    Tensors are on the CPU, memory-mapped where the format allows it; files of torch are read by
    :func:`formats.torch_files.read_torch`, which compares checksums and sizes. A path may be a name on the hub, see
    :mod:`formats.hub_files`.

    Returns:
        Published name → tensor, taken from ``ema``, ``model`` or ``state_dict`` (in this order) where nested, and
        without the prefixes of wrappers.

    Raises:
        InputError: The file is missing, damaged, of another kind, holds Python objects or is not a state dict.
    """
    path = require_file(local_file(path), "Name a checkpoint file.")
    if path.suffix not in SUFFIXES:
        raise InputError(
            path, f"'{path.suffix}' is not a checkpoint's suffix", f"Name a file of type {', '.join(SUFFIXES)}."
        )
    remedy = "Download or write it again."
    if path.suffix != ".safetensors":
        return extract_state_dict(read_torch(path, remedy), path)
    try:
        content = load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise InputError(path, "is damaged or not a checkpoint", remedy) from error
    return extract_state_dict(content, path)


def extract_state_dict(content: Any, where: str | Path) -> dict[str, Tensor]:
    """Return the state dict in the content of a checkpoint, without the prefixes of wrappers.

    Args:
        content: The object that was read.
        where: Name of the source in errors.

    Raises:
        InputError: The content has no state dict.
    """
    remedy = f"Expected names and tensors, at the top level or under one of {', '.join(NESTED_UNDER)}."
    if not isinstance(content, Mapping):
        raise InputError(where, f"holds a {type(content).__name__}, not a state dict", remedy)
    nested = (content.get(key) for key in NESTED_UNDER)
    state = next((inner for inner in nested if isinstance(inner, Mapping) and inner), content)
    if not state:
        raise InputError(where, "holds an empty state dict", remedy)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(where, f"does not hold a state dict: {name!r} is a {type(value).__name__}", remedy)
    while prefix := next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)
