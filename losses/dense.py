"""Losses of VGGT on dense predictions, depth or points (Wang et al., CVPR 2025).

Masks, counts and quantiles stay on the device, so that nothing here synchronises with the GPU.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.processes import Processes, nth_largest

GradientTerm = Literal["grad", "normal", "none"]

_MIN_PIXELS = 100  # pixels; with fewer, the loss of a batch is 0
_MIN_AFTER_TRIMMING = 1000
_MAX_VALUE = 100.0
_MIN_NORMALS = 10
_MIN_NORMAL_LENGTH = 1e-8


class DenseTerms(NamedTuple):
    """Scalars: confidence-weighted error, plain error, error of differences or normals, number of non-finite pixels.

    A valid pixel is non-finite if its prediction, confidence or target is NaN or infinite.
    """

    conf: Tensor
    reg: Tensor
    grad: Tensor
    nonfinite: Tensor


def dense_loss(
    prediction: Tensor,
    confidence: Tensor,
    target: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    alpha: float = 0.2,
    valid_range: float | None = 0.98,
    gradient: GradientTerm = "grad",
    processes: Processes = Processes(),
) -> DenseTerms:
    """Compare C values per pixel within the mask, with r = ‖target − prediction‖ and confidence c.

    reg is the mean of r, conf the mean of γ·r·c − α·log c, both as `trimmed_mean`; a value that is NaN or
    infinite counts as 0. With fewer than 100 pixels in the mask all terms and gradients are 0.

    Args:
        prediction: (B, V, H, W, C); C is 1 for depth, 3 for points.
        confidence: (B, V, H, W), above 0.
        target: (B, V, H, W, C); arbitrary outside the mask.
        mask: (B, V, H, W) bool.
        gamma: Weight of the confidence-weighted error; γ in the paper.
        alpha: Weight of the reward for confidence; α in the paper. It can make the loss negative.
        valid_range: Quantile above which errors are left out; None keeps all.
        gradient: "grad" for `difference_loss`, "normal" for `normal_loss` on points, or "none".
        processes: Processes over whose pixels means, counts and quantiles are taken.
    """
    with torch.no_grad():
        usable = mask & torch.linalg.vector_norm(target - prediction, dim=-1).isfinite()
        confident = usable & confidence.isfinite() & (confidence > 0)
    # Replaced before anything is computed from them, as gradients would be 0 · NaN otherwise.
    prediction = torch.where(usable[..., None], prediction, 0)
    target = torch.where(usable[..., None], target, 0)
    confidence = torch.where(confident, confidence, 1)
    error = target - prediction
    residual = torch.linalg.vector_norm(error, dim=-1)
    weighted = torch.where(confident, gamma * residual * confidence - alpha * confidence.log(), 0)
    finite = weighted.isfinite()
    weighted = torch.where(finite, weighted, 0)
    count = processes.sum(mask.sum())
    terms = [trimmed_mean(values, mask, valid_range, processes) for values in (weighted, residual)]
    if gradient == "grad":
        terms.append(difference_loss(error.flatten(0, 1), usable.flatten(0, 1), processes=processes))
    elif gradient == "normal":
        predicted, true, valid = (values.flatten(0, 1) for values in (prediction, target, usable))
        terms.append(normal_loss(predicted, true, valid, processes=processes))
    else:
        terms.append(residual.new_zeros(()))
    conf, reg, grad = (torch.where(count >= _MIN_PIXELS, term, 0) for term in terms)
    return DenseTerms(conf, reg, grad, count - processes.sum((confident & finite).sum()))


def trimmed_mean(values: Tensor, mask: Tensor, valid_range: float | None, processes: Processes = Processes()) -> Tensor:
    """Return the mean of the masked values without outliers, a scalar; 0 if the mask is empty.

    If the mask has over 1000 values, they are clamped to 100, and those not below their quantile (nearest rank) are
    left out as long as over 1000 remain.

    Args:
        values: Any shape, finite, 0 outside the mask.
        mask: Bool of the same shape.
        valid_range: Quantile in 0…1; None for the plain mean.
        processes: Processes whose values are taken together.
    """
    # Processes may have images of other sizes, but must all make the same calls.
    few = processes.size == 1 and values.numel() <= _MIN_AFTER_TRIMMING
    if valid_range is None or few:
        return processes.mean(values.sum(), mask.sum())
    count = processes.sum(mask.sum())
    many = count > _MIN_AFTER_TRIMMING
    values = torch.where(many, values.clamp(max=_MAX_VALUE), values)
    with torch.no_grad():
        below = mask & (values < _nearest_rank(values, mask, count, valid_range, processes))
        kept = torch.where(many & (processes.sum(below.sum()) > _MIN_AFTER_TRIMMING), below, mask)
    return processes.mean(torch.where(kept, values, 0).sum(), kept.sum())


def _nearest_rank(values: Tensor, mask: Tensor, count: Tensor, quantile: float, processes: Processes) -> Tensor:
    # Counted from the top, as a quantile near 1 requires sorting only the largest few.
    rank = count - 1 - (quantile * (count - 1).double()).round().long()
    if processes.size > 1:
        return nth_largest(values, mask, rank, processes)
    most = min(values.numel(), int((1 - quantile) * values.numel()) + 2)  # the largest rank for any count
    largest = torch.where(mask, values, -torch.inf).flatten().topk(most).values
    return largest.gather(0, rank.clamp(0, most - 1)[None])


def difference_loss(error: Tensor, mask: Tensor, scales: int = 4, processes: Processes = Processes()) -> Tensor:
    """Return the L1 norm of the error's differences between valid neighbours, averaged over scales.

    Scale s uses every 2^s-th pixel: horizontal and vertical differences, each clamped to 100, are summed and divided
    by the number of valid values at that scale.

    Args:
        error: (N, H, W, C), finite, 0 outside the mask.
        mask: (N, H, W) bool.
        scales: Number of scales.
        processes: Processes over which values are summed and counted.
    """
    total = error.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        e, m = error[:, ::step, ::step], mask[:, ::step, ::step]
        differences = (
            (e[:, :, 1:] - e[:, :, :-1], m[:, :, 1:] & m[:, :, :-1]),
            (e[:, 1:] - e[:, :-1], m[:, 1:] & m[:, :-1]),
        )
        summed = torch.stack([(d.abs().clamp(max=_MAX_VALUE) * both[..., None]).sum() for d, both in differences])
        total = total + processes.mean(summed.sum(), m.sum() * error.shape[-1])
    return total / scales


def normal_loss(
    prediction: Tensor, target: Tensor, mask: Tensor, scales: int = 3, processes: Processes = Processes()
) -> Tensor:
    """Return one minus the cosine between surface normals, 0…2, averaged over scales of every 2^s-th pixel.

    A pixel has up to four normals, each the cross product of the differences to one vertical and one horizontal
    neighbour, where all three pixels are valid. A scale with fewer than 10 normals adds 0.

    Args:
        prediction: (N, H, W, 3), finite.
        target: (N, H, W, 3), finite.
        mask: (N, H, W) bool.
        scales: Number of scales.
        processes: Processes over which values are summed and counted.
    """
    total = prediction.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        predicted, true, valid = (values[:, ::step, ::step] for values in (prediction, target, mask))
        total = total + _normal_loss(predicted, true, valid, processes)
    return total / scales


def _normal_loss(prediction: Tensor, target: Tensor, mask: Tensor, processes: Processes) -> Tensor:
    steps = [(x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]) for x in (prediction, target)]
    vertical_mask, horizontal_mask = mask[:, 1:] & mask[:, :-1], mask[:, :, 1:] & mask[:, :, :-1]
    summed, count = prediction.new_zeros(()), mask.new_zeros((), dtype=torch.long)
    first, last = slice(None, -1), slice(1, None)
    for column in (first, last):  # which end of its horizontal difference the pixel is
        for row in (first, last):
            predicted, true = (
                torch.linalg.cross(vertical[:, :, column], horizontal[:, row], dim=-1) for vertical, horizontal in steps
            )
            cosine = F.cosine_similarity(predicted, true, dim=-1, eps=_MIN_NORMAL_LENGTH)
            cosine = cosine.clamp(_MIN_NORMAL_LENGTH - 1, 1 - _MIN_NORMAL_LENGTH)
            valid = vertical_mask[:, :, column] & horizontal_mask[:, row]
            summed = summed + torch.where(valid, 1 - cosine, 0).sum()
            count = count + valid.sum()
    return torch.where(processes.sum(count) >= _MIN_NORMALS, processes.mean(summed, count), 0)
