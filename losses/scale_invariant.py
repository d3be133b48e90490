"""Scale-invariant error of a layer index, after Maruani et al., "Illustrator's Depth" (CVPR 2026)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geometry.affine_invariant import normalise_by_median
from losses.processes import Processes

_EDGE_SCALES = 4


class ScaleInvariantLoss(nn.Module):
    """Mean |d̂_p − d̂_t| of an image, then the mean over images, with d̂ = (d − median) / (mean |d − median| + eps).

    Medians and means are taken over the masked pixels of an image, separately for prediction and target. The error
    of an image is in 0…2 and does not depend on the scale and shift of the prediction.

    An image whose target has a single value has no order, and normalising would compare it with the noise of the
    prediction; such an image is left out of the mean, as is one with an empty mask. A constant prediction has d̂_p = 0
    and an error just below 1; its gradient is finite but large, about 1 / eps divided by the number of pixels, so
    gradients need clipping. A prediction that is NaN or infinite at a masked pixel makes the loss NaN.

    Args:
        edge_weight: Weight of the edge term in the loss; the paper's optional term has 0.1. 0 disables it.
        eps: Added to the divisors.

    Raises:
        ValueError: ``edge_weight`` is negative, or ``eps`` is not positive.
    """

    def __init__(self, edge_weight: float = 0.0, eps: float = 1e-6) -> None:
        super().__init__()
        if not 0 <= edge_weight < math.inf or not 0 < eps < math.inf:
            raise ValueError(f"edge_weight must be at least 0 and eps above 0, not {edge_weight} and {eps}")
        self.edge_weight, self.eps = edge_weight, eps

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor,
        weights: Tensor,
        processes: Processes = Processes(),
    ) -> dict[str, Tensor]:
        """Return ``loss``, its terms, and the number of images it averages; scalars, at least float32.

        Terms: ``scale_invariant``; ``edge`` if it has a weight, see `edge_error`; ``loss``, the first plus
        edge_weight times the second; ``images_with_order``, a count. Without any image with an order the terms are 0
        but stay on the graph, so that all processes take part in the backward pass. No call synchronises host and
        device.

        Args:
            prediction: (B, H, W) or (B, 1, H, W), any float type.
            target: (B, H, W) float; arbitrary outside the mask.
            mask: (B, H, W) bool.
            weights: (B,); rows of weight 0 are ignored.
            processes: Processes over whose images the mean is taken; each gets its part of it.

        Raises:
            ValueError: The shapes do not agree.
        """
        if prediction.ndim == 4:
            prediction = prediction.squeeze(1)
        if not prediction.shape == target.shape == mask.shape or mask.ndim != 3:
            shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
            raise ValueError(f"prediction, target and mask must be (B, H, W), not {shapes}")
        # bfloat16 would round the loss to two digits; autocast lowers none of the operations below
        prediction, target = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (prediction, target))
        true, true_spread = normalise_by_median(target, mask, self.eps)
        counted = (weights > 0) & (true_spread != 0)
        inside = mask & counted[:, None, None]
        predicted, _ = normalise_by_median(prediction, inside, self.eps)
        difference = torch.where(inside, predicted - true, 0)
        images = counted.sum()

        def mean(errors: Tensor) -> Tensor:
            return processes.mean(errors.sum(), images)

        error = mean(difference.abs().sum((1, 2)) / inside.sum((1, 2)).clamp(min=1))
        terms = {"loss": error, "scale_invariant": error}
        if self.edge_weight:
            terms["edge"] = mean(edge_error(difference, inside))
            terms["loss"] = error + self.edge_weight * terms["edge"]
        return {**terms, "images_with_order": processes.sum(images).to(error.dtype)}


def edge_error(difference: Tensor, mask: Tensor) -> Tensor:
    """Return mean |∇d̂_p − ∇d̂_t| of each image: difference of the steps from pixel to pixel.

    The paper mentions such a term without its definition, so this form is our own: at scale s = 0 … 3 every 2^s-th
    pixel is taken, the mean is over all pairs of horizontal or vertical neighbours that are both masked (0 if there
    are none), and the scales are averaged.

    Args:
        difference: (B, H, W), d̂_p − d̂_t, finite.
        mask: (B, H, W) bool.

    Returns:
        (B,).
    """
    total = difference.new_zeros(len(difference))
    for scale in range(_EDGE_SCALES):
        step = 2**scale
        d, m = difference[:, ::step, ::step], mask[:, ::step, ::step]
        across = torch.where(m[:, :, 1:] & m[:, :, :-1], (d[:, :, 1:] - d[:, :, :-1]).abs(), 0).sum((1, 2))
        down = torch.where(m[:, 1:] & m[:, :-1], (d[:, 1:] - d[:, :-1]).abs(), 0).sum((1, 2))
        pairs = (m[:, :, 1:] & m[:, :, :-1]).sum((1, 2)) + (m[:, 1:] & m[:, :-1]).sum((1, 2))
        total = total + (across + down) / pairs.clamp(min=1)
    return total / _EDGE_SCALES
