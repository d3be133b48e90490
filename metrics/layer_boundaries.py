"""Agreement of the boundaries of predicted layers with those of the true layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 2  # pixels between a predicted boundary and the true one
STEP = 0.5  # change of the index at a boundary, in layers


class BoundaryScores(NamedTuple):
    """Scores of each image, (B,) float64 in 0 … 1, and whether the image has a true boundary, (B,) bool."""

    f1: Tensor
    precision: Tensor
    recall: Tensor
    measured: Tensor


def boundary_scores(
    prediction: Tensor, orders: Tensor, mask: Tensor, tolerance: int = TOLERANCE, step: float = STEP
) -> BoundaryScores:
    """Compare the boundaries of predicted and true layers.

    A pixel is on a true boundary if its right or its lower neighbour belongs to another layer, and on a predicted one
    if the prediction there differs by more than a threshold; both pixels have to be valid. The threshold is ``step``
    layers, after the prediction is scaled so that its standard deviation over the valid pixels equals that of the
    true orders.

    Precision is the share of predicted boundary pixels with a true one within ``tolerance`` pixels in x and y, 0 if
    nothing is predicted; recall is the share of true ones with a predicted one within that distance; F1 is their
    harmonic mean, 0 if both are 0.

    Args:
        prediction: (B, H, W) float; arbitrary outside the mask.
        orders: (B, H, W) integers.
        mask: (B, H, W) bool.
        tolerance: Distance in pixels, at least 0.
        step: Threshold in layers, at least 0.
    """
    stretch = _deviation(prediction, mask) / _deviation(orders, mask).clamp(min=1e-12)
    true = _steps(orders, mask, torch.zeros_like(stretch))
    predicted = _steps(prediction, mask, step * stretch)
    precision = _share(predicted, _dilated(true, tolerance))
    recall = _share(true, _dilated(predicted, tolerance))
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return BoundaryScores(f1, precision, recall, true.any(2).any(1))


def _deviation(values: Tensor, mask: Tensor) -> Tensor:
    count = mask.sum((1, 2)).clamp(min=1)
    mean = torch.where(mask, values, 0).sum((1, 2), dtype=torch.float64) / count
    centred = torch.where(mask, values - mean[:, None, None].float(), 0)
    return (centred.square().sum((1, 2), dtype=torch.float64) / count).sqrt()


def _steps(values: Tensor, mask: Tensor, threshold: Tensor) -> Tensor:
    """Find pixels whose value (B, H, W) differs from the right or lower neighbour's by more than a threshold (B,)."""
    limit = threshold[:, None, None].to(torch.promote_types(values.dtype, torch.float32))
    across = ((values[:, :, 1:] - values[:, :, :-1]).abs() > limit) & mask[:, :, 1:] & mask[:, :, :-1]
    down = ((values[:, 1:] - values[:, :-1]).abs() > limit) & mask[:, 1:] & mask[:, :-1]
    return F.pad(across, (0, 1)) | F.pad(down, (0, 0, 0, 1))


def _dilated(pixels: Tensor, radius: int) -> Tensor:
    """Dilate by a square of side 2 · radius + 1."""
    return F.max_pool2d(pixels[:, None].float(), 2 * radius + 1, stride=1, padding=radius)[:, 0] > 0


def _share(pixels: Tensor, of: Tensor) -> Tensor:
    return (pixels & of).sum((1, 2)) / pixels.sum((1, 2)).clamp(min=1).double()
