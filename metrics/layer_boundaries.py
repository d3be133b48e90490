"""Whether the boundaries of predicted layers lie where those of the true layers do."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BoundaryScores(NamedTuple):
    """Per image, (B,): three scores in 0 … 1, float64, and whether the image has a true boundary to measure them on."""

    f1: Tensor
    precision: Tensor
    recall: Tensor
    measured: Tensor


def boundary_scores(
    prediction: Tensor, orders: Tensor, mask: Tensor, tolerance: int = 2, step: float = 0.5
) -> BoundaryScores:
    """Compare the pixels at which the prediction steps with those at which the true layer changes.

    A pixel is on a true boundary if its right or its lower neighbour is of another layer, and on a predicted one
    if the prediction there differs by more than a threshold; both pixels have to be valid. The threshold is
    ``step`` layers, once the prediction has been stretched so that its standard deviation over the valid pixels
    is that of the true orders.

    Precision is the share of predicted boundary pixels with a true one at most ``tolerance`` pixels away in x and
    in y, 0 where nothing is predicted; recall the share of true ones with a predicted one as near; F1 their
    harmonic mean, 0 where both are 0.

    Args:
        prediction: (B, H, W) float; may be anything outside the mask.
        orders: (B, H, W) integers.
        mask: (B, H, W) bool.
        tolerance: Pixels, from 0.
        step: Layers, from 0.
    """
    stretch = _deviation(prediction, mask) / _deviation(orders, mask).clamp(min=1e-12)
    true = _steps(orders, mask, torch.zeros_like(stretch))
    predicted = _steps(prediction, mask, step * stretch)
    precision = _share(predicted, _widened(true, tolerance))
    recall = _share(true, _widened(predicted, tolerance))
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return BoundaryScores(f1, precision, recall, true.any(2).any(1))


def _deviation(values: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum((1, 2)).clamp(min=1)
    mean = torch.where(mask, values, 0).sum((1, 2), dtype=torch.float64) / count
    centred = torch.where(mask, values - mean[:, None, None].float(), 0)
    return (centred.square().sum((1, 2), dtype=torch.float64) / count).sqrt()


def _steps(values: Tensor, mask: Tensor, threshold: Tensor) -> Tensor:
    """Where values (B, H, W) differ from the right or lower neighbour's by more than a threshold (B,); bool."""
    limit = threshold[:, None, None].to(torch.promote_types(values.dtype, torch.float32))
    across = ((values[:, :, 1:] - values[:, :, :-1]).abs() > limit) & mask[:, :, 1:] & mask[:, :, :-1]
    down = ((values[:, 1:] - values[:, :-1]).abs() > limit) & mask[:, 1:] & mask[:, :-1]
    return F.pad(across, (0, 1)) | F.pad(down, (0, 0, 0, 1))


def _widened(pixels: Tensor, radius: int) -> Tensor:
    """Every pixel at most radius away from a set one in x and in y."""
    return F.max_pool2d(pixels[:, None].float(), 2 * radius + 1, stride=1, padding=radius)[:, 0] > 0


def _share(pixels: Tensor, of: Tensor) -> Tensor:
    return (pixels & of).sum((1, 2)) / pixels.sum((1, 2)).clamp(min=1).double()
