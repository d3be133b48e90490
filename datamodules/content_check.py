"""Check of the values of samples: a few when a dataset is opened, all of them by ``prepare check-data``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from batches.names import sample_names
from formats.errors import InputError

LARGEST = 1e8  # more than positions in metres on a map of the Earth
REMEDY = "Repair or remove the sample; `python cli.py prepare check-data --config …` lists all such samples."


class BatchDataset(Protocol):
    """Dataset that returns whole batches."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: list[int]) -> Any:
        """Return the batch of these indices."""


def value_faults(batch: Mapping[str, Any]) -> list[str]:
    """Describe the values of a batch that are NaN, infinite or over 10⁸ in size.

    Example:
        >>> value_faults({"latents": torch.tensor([[1.0, torch.nan], [1e30, 2.0]]), "names": ["a", "b"]})
        ['sample a: its latents are not finite', 'sample b: its latents reach 1e+30']
    """
    faults = []
    for key, value in batch.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
            continue
        if bool((value.abs() <= LARGEST).all()):
            continue
        names = sample_names(batch)
        rows = value.flatten(1).abs().amax(1) if value.ndim > 1 else value.abs()
        for name, largest in zip(names, rows.tolist(), strict=False):
            if not largest <= LARGEST:
                size = f"reach {largest:.3g}" if largest < float("inf") else "are not finite"
                faults.append(f"sample {name}: its {key} {size}")
    return faults


def check_some(dataset: BatchDataset, count: int) -> None:
    """Check samples evenly spread over a dataset.

    Args:
        dataset: Dataset of a split.
        count: Number of samples to read.

    Raises:
        InputError: A value is NaN, infinite or too large; or a sample cannot be read.
    """
    for index in sorted(set(torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().int().tolist())):
        faults = value_faults(dataset.__getitems__([index]))
        if faults:
            sample, _, fault = faults[0].partition(": ")
            raise InputError(sample, fault, REMEDY)
