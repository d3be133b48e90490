"""Velocity of the linear path for a mixture of Gaussians, which can lead sampling near the noise.

Near the noise the exact velocity is almost that of a few Gaussians (Wang and Vastola, "The Unreasonable Effectiveness
of Gaussian Score Approximation for Diffusion Models", TMLR 2024). Here they are a mixture of local principal components
(Tipping and Bishop, "Mixtures of Probabilistic Principal Component Analysers", 1999), which holds what spans an image,
such as rate and phase of a person's steps. It is fitted in a second, where a network needs many thousand steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_LEAST_VARIANCE = 0.02  # outside the directions, for data with few samples
_DIRECTIONS_TO_CLUSTER = 12
_ITERATIONS = 20


class GaussianMixtureVelocity(nn.Module):
    """Exact velocity if each class were a mixture of Gaussians.

    That of one Gaussian with mean m is m + k(λ)·(x − t·m), k(λ) = (t·λ − (1 − t)) / (t²·λ + (1 − t)²), along a
    direction of variance λ. A Gaussian has variances along ``rank`` directions of its own, and in all others the one
    of its class.

    Args:
        num_classes: Number of classes.
        shape: (C, H, W) of a latent.
        num_components: Gaussians per class.
        rank: Directions of a Gaussian.
        neighbours: Latents that a Gaussian is fitted to, those nearest to its centre; more than ``rank``. Neighbouring
            Gaussians share some, which lets them overlap.

    Example::

        >>> mixture = GaussianMixtureVelocity(num_classes=2, shape=(4, 1, 8), num_components=3, rank=2, neighbours=4)
        >>> mixture.fit(torch.randn(20, 4, 1, 8), torch.arange(20) % 2)
        >>> mixture(torch.randn(5, 4, 1, 8), torch.rand(5), torch.tensor([0, 1, 0, 1, 1])).shape
        torch.Size([5, 4, 1, 8])
    """

    means: Tensor
    weights: Tensor
    directions: Tensor
    variances: Tensor
    other_variance: Tensor

    def __init__(
        self, num_classes: int, shape: tuple[int, int, int], num_components: int, rank: int, neighbours: int
    ) -> None:
        super().__init__()
        size = shape[0] * shape[1] * shape[2]
        if num_components < 1 or not 1 <= rank < min(neighbours, size):
            fault = f"not {num_components}, {rank} and {neighbours}"
            raise ValueError(f"a mixture needs at least 1 Gaussian, and 1 ≤ rank < neighbours, {fault}")
        self.neighbours = neighbours
        self.register_buffer("means", torch.zeros(num_classes, num_components, size))
        self.register_buffer("weights", torch.full((num_classes, num_components), 1 / num_components))
        self.register_buffer("directions", torch.zeros(num_classes, num_components, size, rank))
        self.register_buffer("variances", torch.ones(num_classes, num_components, rank))
        self.register_buffer("other_variance", torch.ones(num_classes, 1))

    def fit(self, latents: Tensor, classes: Tensor, labels: Iterable[int] | None = None) -> None:
        """Fit to normalised latents (N, C, H, W) and their classes (N,), by k-means along the strongest directions.

        A class of fewer than twice as many latents as Gaussians uses half as many Gaussians as it has latents. Of
        ``labels``, where given, only these classes are fitted, and the others stay as they are.

        Raises:
            ValueError: A class has too few latents for a Gaussian.
        """
        rank = self.variances.shape[2]
        for label in range(len(self.means)) if labels is None else labels:
            rows = latents[classes == label].flatten(1).double()
            if len(rows) <= rank:
                raise ValueError(f"class {label} has {len(rows)} latents, but the mixture needs more than {rank}")
            places, centres, counts = _cluster(rows, min(self.means.shape[1], len(rows) // 2))
            rest = torch.zeros((), dtype=rows.dtype)
            self.weights[label] = 0
            for group, count in enumerate(counts.tolist()):
                nearest = torch.cdist(centres[group, None], places)[0].argsort()[: max(self.neighbours, count)]
                own = rows[nearest]
                _, strengths, directions = torch.linalg.svd(own - own.mean(0), full_matrices=False)
                variances = strengths.square() / (len(own) - 1)
                rest += count / len(rows) * variances[rank:].sum() / (rows.shape[1] - rank)
                self.means[label, group] = own.mean(0).float()
                self.weights[label, group] = count / len(rows)
                self.directions[label, group] = directions[:rank].T.float()
                self.variances[label, group] = variances[:rank].float()
            self.other_variance[label] = rest.clamp_min(_LEAST_VARIANCE).float()

    def forward(self, x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
        """Velocity at latents x (B, C, H, W), times t (B,) in [0, 1] and classes (B,), in the shape of x."""
        velocity = torch.empty_like(x).flatten(1)
        for label in classes.unique().tolist():  # one after another, since directions are large
            own = classes == label
            velocity[own] = self._of_class(x[own].flatten(1), t[own, None], label)
        return velocity.view_as(x)

    def _of_class(self, x: Tensor, t: Tensor, label: int) -> Tensor:
        """Velocity (B, size) at latents x (B, size) and times t (B, 1)."""
        means, directions = self.means[label], self.directions[label]
        variances, others = self.variances[label], self.other_variance[label]
        away = x[:, None] - t[:, :, None] * means  # (B, components, size)
        along = torch.einsum("bms,msr->bmr", away, directions)
        outside = away.square().sum(2) - along.square().sum(2)
        spread, other_spread = _spread(variances, t[:, :, None]), _spread(others, t)
        distance = outside / other_spread + (along.square() / spread).sum(2)
        distance = distance + (spread / other_spread[:, :, None]).log().sum(2)
        posterior = (self.weights[label].log() - distance / 2).softmax(1)
        mean, other_gain = posterior @ means, _gain(others, t)
        gain = _gain(variances, t[:, :, None]) - other_gain[:, :, None]
        inside = torch.einsum("bmr,msr->bs", posterior[:, :, None] * gain * along, directions)
        return mean + other_gain * (x - t * mean) + inside


def _spread(variance: Tensor, t: Tensor) -> Tensor:
    """Variance of points at time t on the way from noise to data of the given variance."""
    return t.square() * variance + (1 - t).square()


def _gain(variance: Tensor, t: Tensor) -> Tensor:
    return (t * variance - (1 - t)) / _spread(variance, t)


def _cluster(rows: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Group rows (N, D) by k-means along their strongest directions.

    Returns:
        Coordinates of rows (N, d) and centres (count, d) along these directions, and the size of each group (count,).
    """
    centred = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    places = centred @ directions[:_DIRECTIONS_TO_CLUSTER].T
    chosen = [0]
    while len(chosen) < count:  # the farthest from all others
        chosen.append(int(torch.cdist(places, places[chosen]).amin(1).argmax()))
    centres = places[chosen]
    for _ in range(_ITERATIONS):
        groups = torch.cdist(places, centres).argmin(1)
        for group in groups.unique().tolist():
            centres[group] = places[groups == group].mean(0)
    return places, centres, torch.bincount(torch.cdist(places, centres).argmin(1), minlength=count)
