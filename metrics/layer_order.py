"""Metrics of a predicted layer index: order, proportions and boundaries of layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from geometry.affine_invariant import normalise_by_median
from metrics.layer_boundaries import STEP, TOLERANCE, boundary_scores

_NAMES = (
    "scale_invariant_error",
    "order_accuracy",
    "foreground_order_accuracy",
    "neighbour_order_accuracy",
    "rank_correlation",
    "boundary_f1",
    "boundary_precision",
    "boundary_recall",
)
_SEED = 0


class LayerOrder(Metric):
    """Order, proportions and boundaries of predicted layers, compared with the true paint order of each pixel.

    No metric depends on the shift or the positive scale of a prediction. Each is computed per image over its valid
    pixels, then averaged over the images for which it is defined. ``compute`` returns float64 scalars, NaN without
    any such image:

    - ``scale_invariant_error``: the error of `losses.scale_invariant.ScaleInvariantLoss` for the true index, order
      divided by number of layers; 0 … 2, lower is better.
    - ``order_accuracy``: share of pairs of pixels from different layers whose predictions are in the right order;
      equal predictions count half. 0 … 1, chance is 0.5. Pairs are sampled uniformly, so that large layers, usually
      the background, dominate.
    - ``foreground_order_accuracy``: the same over pairs without the background, which are harder.
    - ``neighbour_order_accuracy``: the same over all pairs of horizontally or vertically adjacent pixels from
      different layers: which side of an outline is in front.
    - ``rank_correlation``: Spearman's correlation, −1 … 1, between the order of layers with enough pixels and the
      mean prediction in them; equal means share their average rank, and 0 if all are equal. Layers have the same
      weight regardless of their size.
    - ``boundary_f1``, ``boundary_precision``, ``boundary_recall``: see `metrics.layer_boundaries.boundary_scores`.
    - ``images``: number of images with at least two layers, over which the error and the order accuracy are
      averaged; ``images_without_order``: number of the others; ``images_with_foreground_order``,
      ``images_with_regions`` and ``images_with_boundaries``: numbers of images in the averages of the foreground
      accuracy, the rank correlation, and the metrics of neighbours and boundaries.

    NaN predictions are counted: they make the error and the rank correlation NaN, are in the wrong order with every
    other pixel, and their image has no predicted boundary.

    Args:
        pairs_per_image: Number of sampled pairs per image, which do not depend on batches and processes. With 20 000,
            the standard error of an accuracy is at most 0.0036.
        min_region_pixels: Smallest number of valid pixels of a layer in the rank correlation.
        boundary_tolerance: See `metrics.layer_boundaries.boundary_scores`.
        boundary_step: See `metrics.layer_boundaries.boundary_scores`.
        sync_on_compute: Whether ``compute`` is called by all processes and adds up their images.

    Raises:
        ValueError: A setting is out of range.
    """

    is_differentiable = False
    full_state_update = False

    sums: Tensor
    measured: Tensor
    rows: Tensor

    def __init__(
        self,
        pairs_per_image: int = 20_000,
        min_region_pixels: int = 16,
        boundary_tolerance: int = TOLERANCE,
        boundary_step: float = STEP,
        sync_on_compute: bool = True,
    ) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        if pairs_per_image < 1 or min_region_pixels < 1 or boundary_tolerance < 0 or boundary_step < 0:
            raise ValueError(
                "pairs_per_image and min_region_pixels must be at least 1, "
                "boundary_tolerance and boundary_step at least 0"
            )
        self.pairs_per_image, self.min_region_pixels = pairs_per_image, min_region_pixels
        self.boundary_tolerance, self.boundary_step = boundary_tolerance, boundary_step
        self.add_state("sums", torch.zeros(len(_NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("measured", torch.zeros(len(_NAMES), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("rows", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, orders: Tensor, layer_counts: Tensor, masks: Tensor, weights: Tensor) -> None:
        """Add a batch. Synchronises with the device once, for the largest number of layers.

        Args:
            prediction: (B, H, W) or (B, 1, H, W), any float type; larger is nearer to the front.
            orders: (B, H, W) integers from 0, the background; arbitrary outside the masks.
            layer_counts: (B,), the order of the foremost layer in the whole image, at least 1.
            masks: (B, H, W) bool, where the order is known.
            weights: (B,); rows of weight 0 are ignored.

        Raises:
            ValueError: The shapes do not agree.
        """
        if prediction.ndim == 4:
            prediction = prediction.squeeze(1)
        if not prediction.shape == orders.shape == masks.shape or masks.ndim != 3:
            shapes = ", ".join(str(tuple(x.shape)) for x in (prediction, orders, masks))
            raise ValueError(f"prediction, orders and masks must be (B, H, W), not {shapes}")
        prediction = prediction.detach().float()
        masks = masks & (weights > 0)[:, None, None]
        orders = torch.where(masks, orders, 0)
        layers = sort_by_layer(orders.flatten(1), masks.flatten(1))
        flat = prediction.flatten(1)
        background = layers.starts[:, 1:2]
        boundaries = boundary_scores(prediction, orders, masks, self.boundary_tolerance, self.boundary_step)
        values, measured = zip(
            scale_invariant_error(prediction, orders / layer_counts[:, None, None], masks),
            order_accuracy(flat, layers, torch.zeros_like(background), self.pairs_per_image),
            order_accuracy(flat, layers, background, self.pairs_per_image),
            neighbour_order_accuracy(prediction, orders, masks),
            rank_correlation(flat, orders.flatten(1), masks.flatten(1), layers, self.min_region_pixels),
            (boundaries.f1, boundaries.measured),
            (boundaries.precision, boundaries.measured),
            (boundaries.recall, boundaries.measured),
            strict=True,
        )
        counted = torch.stack(measured)
        self.sums += torch.where(counted, torch.stack(values), 0).sum(1)
        self.measured += counted.sum(1)
        self.rows += (weights > 0).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics and the counts by name; float64 scalars."""
        values = dict(zip(_NAMES, self.sums / self.measured, strict=True))
        counts = dict(zip(_NAMES, self.measured.double(), strict=True))
        return {
            **values,
            "images": counts["order_accuracy"],
            "images_without_order": self.rows - counts["order_accuracy"],
            "images_with_foreground_order": counts["foreground_order_accuracy"],
            "images_with_regions": counts["rank_correlation"],
            "images_with_boundaries": counts["boundary_f1"],
        }


class SortedLayers(NamedTuple):
    """Pixels of each image sorted by paint order, those of one layer by row and column.

    Attributes:
        pixels: (B, N) indices into the flattened image; invalid ones come last.
        starts: (B, L + 1), index in ``pixels`` at which each of L layers starts, then the number of valid ones.
    """

    pixels: Tensor
    starts: Tensor


def sort_by_layer(orders: Tensor, mask: Tensor) -> SortedLayers:
    """Sort the pixels (B, N) of each image by their order; L is one more than the largest order of the batch."""
    layers = int(torch.where(mask, orders, 0).max()) + 1
    ascending, pixels = torch.where(mask, orders, layers).sort(dim=1, stable=True)
    edges = torch.arange(layers + 1, dtype=ascending.dtype, device=ascending.device).expand(len(orders), -1)
    return SortedLayers(pixels, torch.searchsorted(ascending, edges.contiguous()))


def scale_invariant_error(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error of each image, (B,) float64, and whether its target has more than one value, (B,)."""
    predicted, _ = normalise_by_median(prediction, mask)
    true, spread = normalise_by_median(target.float(), mask)
    summed = (predicted - true).abs().sum((1, 2), dtype=torch.float64)
    return summed / mask.sum((1, 2)).clamp(min=1), spread > 0


def order_accuracy(prediction: Tensor, layers: SortedLayers, skipped: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Return the share of pairs from different layers that are predicted in the right order; equal ones count half.

    All pairs of an image are numbered by the pixel of the upper layer, in paint order, then by that of the lower one.
    The numbers are divided into ``pairs`` strata of equal length, and one pair is sampled from each, at positions that
    are the same for every image.

    Args:
        prediction: (B, N).
        layers: Sorted pixels of its images.
        skipped: (B, 1), number of the lowest pixels to leave out: all those of some layers.
        pairs: Number of pairs to sample.

    Returns:
        Accuracies (B,) float64, and whether there are any pairs, (B,).
    """
    fractions = torch.rand(pairs, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
    positions = ((torch.arange(pairs) + fractions) / pairs).to(prediction.device)
    starts = layers.starts[:, :-1]
    below = (starts - skipped).clamp(min=0)  # number of pairs with each pixel of a layer
    numbers = (layers.starts.diff(dim=1) * below).cumsum(1)
    total = numbers[:, -1:]
    sampled = (positions * total).long().minimum(total - 1).clamp(min=0)
    layer = torch.searchsorted(numbers, sampled, right=True).clamp(max=starts.shape[1] - 1)
    lower_pixels = below.gather(1, layer).clamp(min=1)
    from_next_layer = numbers.gather(1, layer) - sampled  # counted backwards, from 1
    upper = layers.starts[:, 1:].gather(1, layer) - 1 - (from_next_layer - 1) // lower_pixels
    lower = skipped + (from_next_layer - 1) % lower_pixels
    last = prediction.shape[1] - 1
    front, back = (prediction.gather(1, layers.pixels.gather(1, p.clamp(0, last))) for p in (upper, lower))
    return ((front > back) + 0.5 * (front == back)).mean(1, dtype=torch.float64), total[:, 0] > 0


def neighbour_order_accuracy(prediction: Tensor, orders: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same share over all adjacent pixels of (B, H, W), (B,) float64, and whether there are any, (B,)."""
    right, count = mask.new_zeros((2, len(mask)), dtype=torch.float64)
    for axis in (1, 2):
        size = mask.shape[axis] - 1
        (p, p_next), (o, o_next), (m, m_next) = (
            (x.narrow(axis, 0, size), x.narrow(axis, 1, size)) for x in (prediction, orders, mask)
        )
        differ = m & m_next & (o != o_next)
        same_way = torch.where(o_next > o, p_next > p, p_next < p)
        right = right + (differ & same_way).sum((1, 2)) + 0.5 * (differ & (p == p_next)).sum((1, 2))
        count = count + differ.sum((1, 2))
    return right / count.clamp(min=1), count > 0


def rank_correlation(
    prediction: Tensor, orders: Tensor, mask: Tensor, layers: SortedLayers, min_pixels: int
) -> tuple[Tensor, Tensor]:
    """Return Spearman's correlation between the order of layers and the mean prediction in them.

    Args:
        prediction: (B, N).
        orders: (B, N), 0 outside the mask.
        mask: (B, N) bool.
        layers: Pixels sorted by order.
        min_pixels: Layers with fewer pixels are left out.

    Returns:
        Correlations (B,) float64, and whether an image has at least two layers to compare, (B,).
    """
    counts = layers.starts.diff(dim=1)
    # Sums of equal values are exact in float64 up to 2^29 pixels, so constant layers tie exactly.
    sums = torch.zeros(counts.shape, dtype=torch.float64, device=counts.device)
    sums = sums.scatter_add(1, orders.long(), torch.where(mask, prediction, 0).double())
    region = counts >= min_pixels
    means = torch.where(region, sums / counts.clamp(min=1), torch.inf)
    ascending = means.sort(dim=1).values
    # equal values share their average rank, from 1
    first, past = (torch.searchsorted(ascending, means, right=right) for right in (False, True))
    predicted, true = (first + past + 1) / 2, region.cumsum(1)
    number = region.sum(1, keepdim=True)
    predicted, true = (torch.where(region, rank - (number + 1) / 2, 0).double() for rank in (predicted, true))
    product = predicted.square().sum(1) * true.square().sum(1)
    correlation = torch.where(product > 0, (predicted * true).sum(1) / product.sqrt(), 0)
    faulty = (region & ~means.isfinite()).any(1)
    return torch.where(faulty, torch.nan, correlation), number[:, 0] >= 2
