"""How far predicted depth is from the truth."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

_NAMES = ("abs_rel", "rmse", "delta_1.25", "abs_rel_scaled", "rmse_scaled", "delta_1.25_scaled")


class DepthErrors(Metric):
    """The usual errors of depth (Eigen et al. 2014), as predicted and after scaling each image to the truth.

    Every error is a mean over an image's valid pixels, then over images, so that an image with little valid
    depth weighs as much as any other. ``compute`` returns float64 scalars, NaN where no image was measured:

    - ``abs_rel``: |p − t| / t; 0 … ∞, lower is better.
    - ``rmse``: √ mean (p − t)² of the image, in the unit of the depths; 0 … ∞, lower is better.
    - ``delta_1.25``: share of pixels with max(p/t, t/p) < 1.25; 0 … 1, higher is better. A depth at or below 0
      is wrong.
    - ``…_scaled``: the same after the image's predictions are multiplied by median(t) / median(p), where the
      median of an even count lies between the two middle values, as numpy's. They leave out global scale.
    - ``images``: how many were measured; ``images_without_depth``: how many had no valid pixel to measure.

    A prediction that is NaN is not left out: it makes its errors NaN, and the shares count it as wrong.

    Args:
        sync_on_compute: Whether ``compute`` is called by all processes and adds up their images.
    """

    is_differentiable = False
    full_state_update = False

    sums: Tensor
    images: Tensor
    skipped: Tensor

    def __init__(self, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.add_state("sums", torch.zeros(len(_NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("skipped", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor, weights: Tensor) -> None:
        """Add a batch, without waiting for the device.

        Args:
            prediction: (B, V, H, W), depth in the unit of ``target``.
            target: (B, V, H, W).
            mask: (B, V, H, W) bool; pixels whose true depth is 0, below, NaN or infinite are left out too.
            weights: (B,); a row of weight 0 only fills up the batch and is not counted anywhere.

        Raises:
            ValueError: The shapes do not agree.
        """
        if not prediction.shape == target.shape == mask.shape or prediction.ndim != 4:
            shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
            raise ValueError(f"prediction, target and mask are (B, V, H, W), not {shapes}")
        real = (weights > 0)[:, None].expand(prediction.shape[:2]).flatten()
        predicted, true = (x.detach().float().flatten(0, 1).flatten(1) for x in (prediction, target))
        valid = mask.flatten(0, 1).flatten(1) & (true > 0) & true.isfinite()
        true = torch.where(valid, true, 1)  # keeps divisions elsewhere finite
        count = valid.sum(1)
        scale = _median(true, valid, count) / _median(predicted, valid, count).clamp(min=1e-12)
        errors = [*_errors(predicted, true, valid), *_errors(predicted * scale[:, None], true, valid)]
        measured = real & (count > 0)
        self.sums += torch.where(measured, torch.stack(errors), 0).sum(1)
        self.images += measured.sum()
        self.skipped += (real & (count == 0)).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the errors and the two counts by name; float64 scalars."""
        values = dict(zip(_NAMES, self.sums / self.images, strict=True))
        return {**values, "images": self.images.double(), "images_without_depth": self.skipped.double()}


def _errors(predicted: Tensor, true: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per image, (N,) float64: absolute relative error, root mean square error, share within 1.25."""
    count = valid.sum(1).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(valid, values, 0).sum(1, dtype=torch.float64) / count

    difference = predicted - true
    within = (predicted < 1.25 * true) & (true < 1.25 * predicted)
    return mean(difference.abs() / true), mean(difference.square()).sqrt(), mean(within)


def _median(values: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    ascending = torch.where(valid, values, torch.inf).sort(1).values
    middle = torch.stack([(count - 1).clamp(min=0) // 2, count // 2], dim=1)
    return ascending.gather(1, middle).mean(1)
