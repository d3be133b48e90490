"""Checkpoint files to state dicts, without running code from them."""

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
NESTED_UNDER = ("ema", "model", "state_dict")  # the weight average is what papers report, so it comes first
WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file.

    Beside tensors and plain values only ``argparse.Namespace`` is let through, since published training
    checkpoints hold their arguments. Tensors are on the CPU, mapped from the file where its format allows.

    Returns:
        Published name → tensor, taken out of ``ema``, ``model`` or ``state_dict`` (in this order) where
        nested, and without the prefixes of wrappers.

    Raises:
        InputError: No such file, not such a file, damaged, holding Python objects, or not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Name a checkpoint file.")
    if path.suffix not in SUFFIXES:
        raise InputError(path, f"not a checkpoint by its suffix '{path.suffix}'", f"Name a {', '.join(SUFFIXES)}.")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([argparse.Namespace]):
                # Files from before torch 1.6 are no zip archives and cannot be mapped.
                content = torch.load(path, "cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file fails in as many ways as it has bytes
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            fault = f"it holds a Python object ({refused[1].rstrip('.,')}), and reading it could run code"
            remedy = "Where you trust the file, save its state dict alone as safetensors."
            raise InputError(path, fault, remedy) from error
        raise InputError(path, "damaged, or not a checkpoint", "Fetch or write it again.") from error
    return unwrapped(content, path)


def unwrapped(content: Any, where: str | Path) -> dict[str, Tensor]:
    """Take the state dict out of what a checkpoint holds, without the prefixes of wrappers.

    Args:
        content: What was read.
        where: What errors call it.

    Raises:
        InputError: There is none in it.
    """
    remedy = f"Give names and tensors, alone or under one of {', '.join(NESTED_UNDER)}."
    if not isinstance(content, Mapping):
        raise InputError(where, f"holds a {type(content).__name__}, not a state dict", remedy)
    nested = (content.get(key) for key in NESTED_UNDER)
    state = next((inner for inner in nested if isinstance(inner, Mapping) and inner), content)
    if not state:
        raise InputError(where, "an empty state dict", remedy)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(where, f"not a state dict: {name!r} is a {type(value).__name__}", remedy)
    while prefix := next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)
