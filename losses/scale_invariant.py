"""Scale-invariant error of a layer index, after Maruani et al., "Illustrator's Depth" (CVPR 2026)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geometry.affine_invariant import normalise_by_median

_EDGE_SCALES = 4


class ScaleInvariantLoss(nn.Module):
    """Mean |d̂_p − d̂_t| of an image, then the mean over images, with d̂ = (d − median) / (mean |d − median| + eps).

    Medians and means are over an image's masked pixels, of the prediction and of the target each: an image's
    error lies in 0…2, and scale and shift of the prediction do not matter.

    An image whose target has a single value shows no order, and normalising would set the prediction's noise
    against it; such an image is left out of the mean, as is one with nothing in its mask. A constant prediction
    has d̂_p = 0 and an error just below 1; its gradient is finite but large, of the order 1 / eps over the number
    of pixels, so gradients need clipping. A prediction that is NaN or infinite where it counts makes the loss NaN.

    Args:
        edge_weight: Of the edge term in the loss. The paper uses 0.1 where it has one; 0 leaves it out.
        eps: Added to the divisors.

    Raises:
        ValueError: A setting has no meaning.
    """

    def __init__(self, edge_weight: float = 0.0, eps: float = 1e-6) -> None:
        super().__init__()
        if edge_weight < 0 or eps <= 0:
            raise ValueError(f"edge_weight is 0 or above and eps above 0, not {edge_weight} and {eps}")
        self.edge_weight, self.eps = edge_weight, eps

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor, weights: Tensor) -> dict[str, Tensor]:
        """Return ``loss``, what it is made of, and how many images it is the mean of; scalars, float32 at least.

        Terms: ``scale_invariant``; ``edge`` where it has a weight, see `edge_error`; ``loss``, the first plus
        edge_weight times the second; ``images_with_order``, a count. With no image to count the terms are 0 and
        still on the graph, so all processes of a run go backward together. The host is not made to wait for the
        device.

        Args:
            prediction: (B, H, W) or (B, 1, H, W), any float type.
            target: (B, H, W) float; may be anything outside the mask.
            mask: (B, H, W) bool.
            weights: (B,); a row of weight 0 counts for nothing, whatever it holds.

        Raises:
            ValueError: The shapes do not agree.
        """
        if prediction.ndim == 4:
            prediction = prediction.squeeze(1)
        if not prediction.shape == target.shape == mask.shape or mask.ndim != 3:
            shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
            raise ValueError(f"prediction, target and mask are (B, H, W), not {shapes}")
        # bfloat16 would round the loss to two digits; nothing from here on is an operation that autocast lowers
        prediction, target = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (prediction, target))
        true, true_spread = normalise_by_median(target, mask, self.eps)
        counted = (weights > 0) & (true_spread != 0)
        inside = mask & counted[:, None, None]
        predicted, _ = normalise_by_median(prediction, inside, self.eps)
        difference = torch.where(inside, predicted - true, 0)
        images = counted.sum()

        def mean(errors: Tensor) -> Tensor:
            return errors.sum() / images.clamp(min=1)

        error = mean(difference.abs().sum((1, 2)) / inside.sum((1, 2)).clamp(min=1))
        terms = {"loss": error, "scale_invariant": error}
        if self.edge_weight:
            terms["edge"] = mean(edge_error(difference, inside))
            terms["loss"] = error + self.edge_weight * terms["edge"]
        return {**terms, "images_with_order": images.to(error.dtype)}


def edge_error(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean |∇d̂_p − ∇d̂_t| of each image: how differently two maps step from pixel to pixel.

    The published description says no more than that there is such a term, so its form is this project's: a scale
    s = 0 … 3 looks at every 2^s-th pixel, takes the mean over all pairs of horizontal or vertical neighbours there
    that are both masked (0 where there are none), and the scales are averaged.

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
