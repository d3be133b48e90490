"""Names of the samples of a batch, for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = ("names", "seq_name")


def sample_names(batch: Mapping[str, Any]) -> list[str]:
    """Return the names of the samples of any batch type of this package.

    Samples of batches without names are counted from 1.

    Example:
        >>> sample_names({"seq_name": ["aerial_megadepth_0001_0"]})
        ['aerial_megadepth_0001_0']
    """
    for key in _NAMES:
        if key in batch:
            return [str(name) for name in batch[key]]
    size = max((len(value) for value in batch.values() if hasattr(value, "__len__")), default=0)
    return [f"{number} of the batch" for number in range(1, size + 1)]
