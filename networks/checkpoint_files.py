"""Read state dicts from checkpoint files without running code from them."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from formats.errors import InputError

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
NESTED_UNDER = ("ema", "model", "state_dict")  # papers report the weight average, so it comes first
WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.

    Apart from tensors and plain values only ``argparse.Namespace`` is accepted, since published training
    checkpoints hold their arguments. Tensors are on the CPU, memory-mapped where the format allows it.

    Returns:
        Published name → tensor, taken from ``ema``, ``model`` or ``state_dict`` (in this order) where nested, and
        without the prefixes of wrappers.

    Raises:
        InputError: The file is missing, damaged, of another kind, holds Python objects or is not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Name a checkpoint file.")
    if path.suffix not in SUFFIXES:
        raise InputError(
            path, f"'{path.suffix}' is not a checkpoint's suffix", f"Name a file of type {', '.join(SUFFIXES)}."
        )
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                # Files written before torch 1.6 are not zip archives and cannot be mapped.
                content = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file can raise nearly anything
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            fault = f"holds a Python object ({refused[1].rstrip('.,')}); reading it could run code"
            remedy = "If you trust the file, save only its state dict, as safetensors."
            raise InputError(path, fault, remedy) from error
        raise InputError(path, "is damaged or not a checkpoint", "Download or write it again.") from error
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
