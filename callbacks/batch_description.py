"""Description of the first training batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class BatchDescription(Callback):
    """Print the first batch of a training run: keys, shapes, types and ranges, with the valid share of masks."""

    def __init__(self) -> None:
        self.printed = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Print the batch before the first step of this run."""
        if not self.printed:
            pl_module.print("\n".join(["first training batch:", *describe_batch(batch)]))
        self.printed = True


def describe_batch(batch: Any) -> list[str]:
    """Describe each value of a batch in a line.

    Example:
        >>> batch = {"depths": torch.tensor([0.0, 2.5]), "masks": torch.tensor([True, False]), "names": ["a", "b"]}
        >>> print("\\n".join(describe_batch(batch)))
          depths  [2] float32  0 to 2.5, mean 1.25, 50.0 % not zero
          masks   [2] bool     50.0 % valid
          names   2 values     a, …
    """
    values = dict(batch) if isinstance(batch, Mapping) else {"batch": batch}
    rows = [(str(name), *_described(value)) for name, value in values.items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [f"  {name:{widths[0]}}  {kind:{widths[1]}}  {content}".rstrip() for name, kind, content in rows]


def _described(value: Any) -> tuple[str, str]:
    """Return type and content of a value."""
    if isinstance(value, Tensor):
        kind = f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        return kind, _content(value) if value.numel() else "empty"
    if isinstance(value, list | tuple):
        more = ", …" if len(value) > 1 else ""
        return f"{len(value)} value{'' if len(value) == 1 else 's'}", f"{value[0]}{more}" if value else ""
    return type(value).__name__, str(value)


def _content(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return f"{_percent(tensor)} valid"
    if not tensor.is_floating_point():
        return f"{int(tensor.min())} to {int(tensor.max())}"
    finite = tensor.isfinite()
    values = tensor[finite].float()
    parts, zero = list[str](), tensor == 0
    if values.numel():
        parts.append(f"{float(values.min()):.4g} to {float(values.max()):.4g}, mean {float(values.mean()):.4g}")
    parts += [f"{_percent(~zero)} not zero"] if zero.any() else []
    return ", ".join([*parts, *([] if finite.all() else [f"{_percent(~finite)} NaN or infinite"])])


def _percent(mask: Tensor) -> str:
    return f"{100 * float(mask.float().mean()):.1f} %"
