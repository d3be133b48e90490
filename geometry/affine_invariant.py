"""Maps known up to scale and shift only: medians under masks, and normalising by them."""

from __future__ import annotations

import torch
from torch import Tensor


def normalise_by_median(values: Tensor, mask: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Return each image as (d − median) / (mean |d − median| + eps), and its mean |d − median|.

    Both the median and the mean are over the image's masked pixels. Adding eps rather than bounding the divisor
    keeps the result smooth, and its mean of absolute values below 1; an image of a single value becomes 0.
    Gradients run through the median and the mean.

    Args:
        values: (B, …) float; may be anything outside the mask, and no gradient arrives there.
        mask: The same shape, bool.
        eps: Added to the divisor, in the unit of the values.

    Returns:
        Normalised values, shaped as given and 0 outside the mask; mean absolute deviations (B,), exactly 0 where
        all masked values are the same or there are none.
    """
    # replaced before anything is computed from them: afterwards, gradients would be 0 · NaN
    flat, inside = torch.where(mask, values, 0).flatten(1), mask.flatten(1)
    centred = torch.where(inside, flat - masked_median(flat, inside)[:, None], 0)
    spread = centred.abs().sum(1) / inside.sum(1).clamp(min=1)
    return (centred / (spread + eps)[:, None]).view_as(values), spread


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """Median of each row's masked values; of an even count the mean of the two middle ones, as numpy's.

    A middle value takes its share of the gradient; of several equal ones, a single one does.

    Args:
        values: (B, N) float.
        mask: (B, N) bool. A row without any is given one of its values.

    Returns:
        (B,), of the values' type.
    """
    with torch.no_grad():
        # Selecting takes a quarter of the time of sorting on a CPU. On a GPU sorting is the parallel one, and
        # the one that gives the same index each time.
        middle = _middle_by_selection(values, mask) if values.is_cpu else _middle_by_sorting(values, mask)
    return values.gather(1, middle).mean(1)


def _middle_by_selection(values: Tensor, mask: Tensor) -> Tensor:
    """Where the two middle values stand in each row, (B, 2); one place twice where the count is odd."""
    known = torch.where(mask, values, torch.nan)
    lower = known.nanmedian(dim=1)
    above = known > lower.values[:, None]
    next_larger = torch.where(above, values, torch.inf).min(dim=1).indices
    count = mask.sum(1)
    reaches_past_middle = count - above.sum(1) > count // 2
    return torch.stack([lower.indices, torch.where(reaches_past_middle, lower.indices, next_larger)], dim=1)


def _middle_by_sorting(values: Tensor, mask: Tensor) -> Tensor:
    """The same."""
    ascending = torch.where(mask, values, torch.inf).sort(dim=1, stable=True).indices
    count = mask.sum(1)
    return ascending.gather(1, torch.stack([(count - 1).clamp(min=0) // 2, count // 2], dim=1))
