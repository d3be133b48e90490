"""Check that tensors hold finite values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from formats.errors import InputError

OnNonFinite = Literal["raise", "skip"]  # what a training does with losses and gradients that are not finite


def nonfinite_names(tensors: Mapping[str, Any]) -> list[str]:
    """Return the names of floating-point tensors that hold NaN or infinity; other values are ignored.

    It synchronises with the device once.

    Example:
        >>> nonfinite_names({"a": torch.ones(2), "b": torch.tensor([1.0, torch.nan])})
        ['b']
    """
    names = [name for name, value in tensors.items() if isinstance(value, Tensor) and value.is_floating_point()]
    if not names:
        return []
    device = tensors[names[0]].device
    finite = torch.stack([tensors[name].isfinite().all().to(device, non_blocking=True) for name in names])
    return [name for name, is_finite in zip(names, finite.tolist(), strict=True) if not is_finite]


def check_finite_checkpoint(where: str, checkpoint: Mapping[str, Any], with_optimizers: bool, remedy: str) -> None:
    """Check the weights of a training checkpoint.

    Args:
        where: The checkpoint, for the message.
        checkpoint: Content of the checkpoint; weights, and their average if there is one.
        with_optimizers: Also check the states of the optimisers, with which training continues.
        remedy: What to do.

    Raises:
        InputError: A value is NaN or infinite.
    """
    parts: list[tuple[str, Mapping[str, Any]]] = [
        (kind, checkpoint.get(key) or {})
        for key, kind in (("state_dict", "weights"), ("current_model_state", "weights"))
    ]
    for optimizer in checkpoint.get("optimizer_states", ()) if with_optimizers else ():
        flat = {
            f"{parameter}.{name}": value
            for parameter, state in optimizer.get("state", {}).items()
            for name, value in state.items()
        }
        parts.append(("values in the state of the optimiser", flat))
    for kind, tensors in parts:
        names = nonfinite_names(tensors)
        if names:
            fault = (
                f"holds {kind} that are NaN or infinite, in {len(names)} of {len(tensors)} tensors: {shortlist(names)}"
            )
            raise InputError(where, fault, remedy)


def shortlist(names: list[str], limit: int = 3) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> shortlist(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
