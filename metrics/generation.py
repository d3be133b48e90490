"""Metrics of generated samples against real ones, on feature vectors of any network.

The classes are `torchmetrics.Metric`, whose sums are exact no matter how samples are spread over processes; the
functions take gathered features. Features are float tensors (N, F); distances are Euclidean in the features'
own unit, so that they can only be interpreted next to the same distance between real samples.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
from torchmetrics.image.inception import InceptionScore
from torchmetrics.utilities import dim_zero_cat

from formats.errors import InputError
from formats.hub_files import local_file
from formats.torch_files import read_torch

# the same weights under the names of torch-fidelity and of pytorch-fid
INCEPTION_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")

_CHUNK = 512  # rows of a distance matrix in memory at once


class FrechetDistance(Metric):
    """Fréchet distance between Gaussians fitted to real and to generated features; 0 … ∞, lower is better.

    d² = |μ₁ − μ₂|² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½), Dowson and Landau 1982; Heusel et al. 2017 (FID).
    The trace of the root is the sum of the roots of a symmetric matrix's eigenvalues, clamped at zero against
    rounding: a general matrix root of C₁ C₂ can be NaN for fewer samples than features. Estimates are biased upwards
    for few samples, so compare distances at equal counts.

    Args:
        num_features: Length F of a feature vector.
        sync_on_compute: Whether all processes call ``compute``, which then adds up their samples.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0

    def __init__(self, num_features: int, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.num_features = num_features
        for side in ("real", "generated"):
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(num_features, dtype=torch.float64), dist_reduce_fx="sum")
            products = torch.zeros(num_features, num_features, dtype=torch.float64)
            self.add_state(f"{side}_products", products, dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Add feature vectors (N, F), N ≥ 0, to the real or to the generated side."""
        if features.ndim != 2 or features.shape[1] != self.num_features:
            shape = tuple(features.shape)
            raise InputError("FrechetDistance", f"features of shape {shape}", f"Give (N, {self.num_features}).")
        side, features = "real" if real else "generated", features.detach().double()
        getattr(self, f"{side}_count").add_(len(features))
        getattr(self, f"{side}_sum").add_(features.sum(0))
        getattr(self, f"{side}_products").add_(features.T @ features)

    def compute(self) -> Tensor:
        """Return the distance d², a float64 scalar.

        Raises:
            InputError: A side has fewer than 2 samples, or features are NaN or infinite.
        """
        counts = {side: int(getattr(self, f"{side}_count")) for side in ("real", "generated")}
        if min(counts.values()) < 2:
            fault = f"{counts['real']} real and {counts['generated']} generated samples"
            raise InputError("FrechetDistance", fault, "Give at least 2 of each, for a covariance.")
        real_mean, real_cov = self._moments("real", counts["real"])
        generated_mean, generated_cov = self._moments("generated", counts["generated"])
        return frechet_distance(real_mean, real_cov, generated_mean, generated_cov)

    def _moments(self, side: str, count: int) -> tuple[Tensor, Tensor]:
        mean = getattr(self, f"{side}_sum") / count
        covariance = (getattr(self, f"{side}_products") - count * torch.outer(mean, mean)) / (count - 1)
        if not covariance.isfinite().all():
            raise InputError("FrechetDistance", f"{side} features hold NaN or infinity", "Check the network.")
        return mean, covariance


def frechet_distance(mean_1: Tensor, covariance_1: Tensor, mean_2: Tensor, covariance_2: Tensor) -> Tensor:
    """Return the Fréchet distance d² ≥ 0 of two Gaussians: means (F,), covariances (F, F) of any rank, in float64."""
    values, vectors = torch.linalg.eigh(covariance_1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ covariance_2 @ root
    overlap = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * overlap
    clamped: Tensor = distance.clamp(min=0)
    return clamped


class ClassifierScore(Metric):
    """exp E[KL(p(y|x) ‖ p(y))] of a classifier's logits: 1 … ``num_classes``, higher is better.

    The inception score (Salimans et al. 2016) with any classifier instead of Inception, over all samples at once
    rather than in splits. It is high if every sample is clearly of one class and all classes appear; it does not
    measure diversity within a class.

    Args:
        num_classes: Number of logits.
        sync_on_compute: Whether all processes call ``compute``, which then adds up their samples.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 1.0

    count: Tensor
    probability_sum: Tensor
    negative_entropy_sum: Tensor

    def __init__(self, num_classes: int, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("probability_sum", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("negative_entropy_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Add logits (N, ``num_classes``), N ≥ 0."""
        probabilities = logits.detach().double().softmax(1)
        self.count += len(logits)
        self.probability_sum += probabilities.sum(0)
        self.negative_entropy_sum += torch.xlogy(probabilities, probabilities).sum()

    def compute(self) -> Tensor:
        """Return the score, a float64 scalar.

        Raises:
            InputError: No logits were given.
        """
        if self.count == 0:
            raise InputError("ClassifierScore", "no samples", "Add logits before computing.")
        marginal = self.probability_sum / self.count
        divergence = self.negative_entropy_sum / self.count - torch.xlogy(marginal, marginal).sum()
        score: Tensor = divergence.clamp(min=0).exp()
        return score


class Diversity(NamedTuple):
    """Mean pairwise distance within a user, averaged over the users counted; NaN if there are none."""

    distance: float
    users_counted: int
    users_left_out: int


def within_user_diversity(features: Tensor, users: Tensor) -> Diversity:
    """Measure how much samples of one user differ from each other; 0 if a generator repeats itself.

    Args:
        features: (N, F).
        users: (N,) class index of each row. Users with a single sample have no pair: they are left out and counted.
    """
    means, left_out = [], 0
    for user in users.unique():
        own = features[users == user].double()
        if len(own) < 2:
            left_out += 1
            continue
        total = sum(float(_distances(rows, own).sum()) for rows in own.split(_CHUNK))
        means.append(total / (len(own) * (len(own) - 1)))  # each pair counts twice, and the diagonal is 0
    return Diversity(sum(means) / len(means) if means else float("nan"), len(means), left_out)


class Neighbours(NamedTuple):
    """Distance of each query to its nearest reference, (N,) float64, and the index of that reference, (N,)."""

    distances: Tensor
    indices: Tensor


def nearest_neighbour_distances(queries: Tensor, references: Tensor) -> Neighbours:
    """Find each query's nearest reference, exactly: queries (N, F), references (M, F), M ≥ 1.

    Raises:
        InputError: There are no references.
    """
    if len(references) == 0:
        raise InputError("nearest_neighbour_distances", "no references", "Give at least one.")
    nearest = [_distances(rows, references.double()).min(1) for rows in queries.double().split(_CHUNK)]
    return Neighbours(torch.cat([n.values for n in nearest]), torch.cat([n.indices for n in nearest]))


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    # the faster way by a matrix product loses precision for small distances between large vectors
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


class InceptionStatistics(nn.Module):
    """Compute Fréchet inception distance and inception score by torchmetrics from one pass of Inception.

    Args:
        weights: The Inception file of torch-fidelity or of pytorch-fid; see `INCEPTION_FILES`.

    Raises:
        InputError: The file cannot be read or does not hold that network's weights.
    """

    _FEATURES, _LOGITS = 2048, 1008

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.network = _inception(weights)
        self.frechet = FrechetInceptionDistance(feature=_Precomputed(self._FEATURES))
        # one split: ten splits of 80 samples would each hold 8 and score too low
        self.generated_score = InceptionScore(feature=_Precomputed(self._LOGITS), splits=1)
        self.real_score = InceptionScore(feature=_Precomputed(self._LOGITS), splits=1)
        for real in (True, False):  # a process without images still takes part in the gathering
            self._add(torch.zeros(0, self._FEATURES), torch.zeros(0, self._LOGITS), real)

    @torch.no_grad()
    def update(self, images: Tensor, real: bool) -> None:
        """Add images (N, 3, H, W) uint8 RGB, N ≥ 0, of any size."""
        if len(images):
            with torch.autocast(images.device.type, enabled=False):
                features, logits = self.network(images)
            self._add(features.flatten(1), logits.flatten(1), real)

    def compute(self) -> dict[str, float]:
        """Return ``frechet_distance_inception``, ``inception_score`` and ``inception_score_real``."""
        result = {"frechet_distance_inception": float(self.frechet.compute())}
        scores = {"inception_score": self.generated_score, "inception_score_real": self.real_score}
        # torchmetrics draws an order, without effect with one split, and a deviation over splits, unused
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
            for key, score in scores.items():
                # as one tensor: torchmetrics hangs if processes hold lists of different lengths
                score.features = [dim_zero_cat(score.features)]
                result[key] = float(score.compute()[0])
        return result

    def _add(self, features: Tensor, logits: Tensor, real: bool) -> None:
        self.frechet.update(features, real=real)
        (self.real_score if real else self.generated_score).update(logits)


class _Precomputed(nn.Identity):
    """Replace a metric's network if the features are already computed."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def inception_places() -> list[Path]:
    """Return the paths under which torch.hub would keep Inception's weights, by either of the file's names."""
    return [Path(torch.hub.get_dir()) / "checkpoints" / name for name in INCEPTION_FILES]


def find_inception(weights: str | None) -> Path | None:
    """Return the named weights file, or torch.hub's, or None; only a name on the hub (``hf://…``) is downloaded.

    Raises:
        InputError: A file is named that does not exist.
    """
    if weights is None:
        return next((path for path in inception_places() if path.is_file()), None)
    path = local_file(weights).expanduser()
    if not path.is_file():
        raise InputError(weights, "no such file", "Name Inception's weights, or leave them out.")
    return path


def _inception(weights: Path) -> nn.Module:
    try:
        # torch-fidelity's own loader would run code in the file, so check first that it loads without code
        read_torch(weights, "Download torch-fidelity's Inception weights again, or leave it out.")
        with torch.random.fork_rng(devices=[]):
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights))
    except Exception as error:  # unpickling and loading fail in many ways
        remedy = "Download torch-fidelity's Inception weights again, or leave it out."
        raise InputError(weights, "does not hold Inception's weights", remedy) from error
    return _FeaturesAndLogits(network)


class _FeaturesAndLogits(nn.Module):
    """Features (N, 2048) and unbiased logits (N, 1008), of which torchmetrics' forward returns the first only."""

    def __init__(self, network: NoTrainInceptionV3) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network(images)
        return features, features @ self.network.fc.weight.T
