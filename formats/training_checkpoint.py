"""Training checkpoints, checked before anything is made of their content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from formats.errors import InputError
from formats.local_files import require_file
from formats.torch_files import read_torch

REMEDY = "Name a checkpoint that `fit` wrote; published weights go to --model.published_checkpoint."
INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"  # the only one that LightningCLI writes
PLAIN = (str, int, float, bool, type(None))
# Entries that Lightning writes, with their types. Only the first two have to be present.
ENTRIES: dict[str, type | tuple[type, ...]] = {
    "state_dict": Mapping,
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "loops": Mapping,
    "callbacks": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "hyper_parameters": Mapping,
}


def read_training_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that Lightning wrote; tensors are memory-mapped.

    Raises:
        InputError: It is missing, not a local regular file, damaged, holds Python objects, is not a training
            checkpoint, or its settings are not plain values.
    """
    require_file(path, "Give --ckpt_path the path of a .ckpt file.", "no such checkpoint")
    content = read_torch(path, REMEDY)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise InputError(path, "is not a training checkpoint", REMEDY)
    for name, kind in ENTRIES.items():
        if name in content and not isinstance(content[name], kind):
            raise InputError(path, f"is not a training checkpoint: {name} is a {type(content[name]).__name__}", REMEDY)
    for name, value in content["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            fault = f"is not a training checkpoint: {name!r} of its weights is a {type(value).__name__}"
            raise InputError(path, fault, REMEDY)
    settings = content.get("hyper_parameters", {})
    if not _is_plain(settings, 0):
        raise InputError(path, "has settings that are not plain values", REMEDY)
    if settings.get("_instantiator") not in (None, INSTANTIATOR):
        fault = f"names {settings['_instantiator']!r} to build its module, which is not allowed"
        raise InputError(path, fault, REMEDY)
    if not isinstance(settings.get("_class_path"), str | None):
        raise InputError(path, "names its module by something that is not a string", REMEDY)
    return dict(content)


def _is_plain(value: Any, depth: int) -> bool:
    if depth > 8:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part, depth + 1) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(part, depth + 1) for part in value)
    return type(value) in PLAIN
