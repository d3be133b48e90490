"""Modules out of training checkpoints, for tools."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lightning import LightningModule

from formats.errors import InputError
from formats.training_checkpoint import read_training_checkpoint

Module = TypeVar("Module", bound=LightningModule)


def load_trained(kind: type[Module], path: str | Path) -> Module:
    """Build a module with the settings and weights of a training checkpoint, on the CPU.

    Lightning's ``load_from_checkpoint`` would import what the checkpoint names to build its module.

    Args:
        kind: The module's class; the checkpoint must be of this class.
        path: The checkpoint.

    Raises:
        InputError: The checkpoint is missing, damaged, of another module, or does not fit its own settings.
    """
    content = read_training_checkpoint(path)
    settings = dict(content.get("hyper_parameters", {}))
    class_path, _ = settings.pop("_class_path", None), settings.pop("_instantiator", None)
    remedy = f"Name a checkpoint of {kind.__name__}."
    if class_path is not None and class_path.rpartition(".")[2] != kind.__name__:
        raise InputError(path, f"is of {class_path}, not of {kind.__name__}", remedy)
    try:
        module = kind(**settings)
        module.on_load_checkpoint(content)
        module.load_state_dict(content["state_dict"])
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise InputError(path, f"does not fit its own settings: {reason}", remedy) from fault
    return module
