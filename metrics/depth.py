"""Error metrics of depth."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

_NAMES = ("abs_rel", "rmse", "delta_1.25", "abs_rel_scaled", "rmse_scaled", "delta_1.25_scaled")


class DepthErrors(Metric):
    """Common depth errors (Eigen et al. 2014), of the prediction and of the prediction scaled to the truth per image.

    Every error is averaged over the valid pixels of an image and then over images, so that an image with few valid
    pixels has the same weight as any other. ``compute`` returns float64 scalars, NaN if no image was measured:

    - ``abs_rel``: |p − t| / t; 0 … ∞, lower is better.
    - ``rmse``: √ mean (p − t)² per image, in the unit of the depths; 0 … ∞, lower is better.
    - ``delta_1.25``: share of pixels with max(p/t, t/p) < 1.25; 0 … 1, higher is better. A depth at or below 0
      counts as wrong.
    - ``…_scaled``: the same after multiplying the predictions of an image by median(t) / median(p), which removes the
      global scale. The median of an even count is the mean of the two middle values, as in numpy.
    - ``images``: number of images measured; ``images_without_depth``: number of images without a valid pixel.

    NaN predictions are not ignored: they make the errors NaN, and the shares count them as wrong.

    Args:
        sync_on_compute: Whether ``compute`` combines the images of all processes, which then must all call it.
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
        """Add a batch without synchronising with the device.

        Args:
            prediction: (B, V, H, W), depth in the unit of ``target``.
            target: (B, V, H, W).
            mask: (B, V, H, W) bool; pixels whose true depth is not positive and finite are also ignored.
            weights: (B,); rows of weight 0 only pad the batch and are ignored.

        Raises:
            ValueError: The shapes differ.
        """
        if not prediction.shape == target.shape == mask.shape or prediction.ndim != 4:
            shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, target, mask))
            raise ValueError(f"prediction, target and mask must all be (B, V, H, W), not {shapes}")
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
    """Return absolute relative error, root mean square error and share within 1.25 per image, each (N,) float64."""
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
