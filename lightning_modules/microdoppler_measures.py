"""Measures between real and generated spectrograms, once all of them are gathered."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from lightning_modules.classifier_training import fit_classifier
from metrics.generation import (
    ClassifierScore,
    FrechetDistance,
    nearest_neighbour_distances,
    within_user_diversity,
)
from metrics.spectrogram_quality import compare_measures, summary
from networks.spectrogram_classifier import SpectrogramClassifier

Results = dict[str, float | int | str]


class Samples(NamedTuple):
    """Small images and measures of spectrograms.

    Attributes:
        images: (N, 3, 64, 64) uint8.
        users: (N,) int64 class indices.
        measures: (N, 8) float64, see ``metrics.spectrogram_physics.measure``.
    """

    images: Tensor
    users: Tensor
    measures: Tensor

    def of(self, users: Tensor) -> Samples:
        """Return the samples of some users."""
        rows = torch.isin(self.users, users)
        return Samples(self.images[rows], self.users[rows], self.measures[rows])


def compare(
    train: Samples, val: Samples, generated: Samples, num_users: int, seed: int, device: torch.device
) -> Results:
    """Train one classifier on real and one on generated images, on the device, and measure with both.

    `MicroDopplerEvaluation.compute` explains every measure by its name. No other process takes part.

    Raises:
        InputError: There are fewer than 2 samples of the generated users on one side.
    """
    on_real = fit_classifier(train.images, train.users, num_users, seed, device=device)
    on_generated = fit_classifier(generated.images, generated.users, num_users, seed, device=device)
    users = generated.users.unique()
    train, val = train.of(users), val.of(users)
    train_features, _ = _embed(on_real, train.images, device)
    val_features, val_logits = _embed(on_real, val.images, device)
    features, logits = _embed(on_real, generated.images, device)
    _, other_logits = _embed(on_generated, val.images, device)

    matched = train_features[_matched_rows(generated.users, train.users, seed)]
    # only the first process computes these: metrics must not wait for the others
    accuracy = partial(MulticlassAccuracy, num_users, average="micro", sync_on_compute=False)
    frechet = partial(FrechetDistance, on_real.num_features, sync_on_compute=False)
    score = partial(ClassifierScore, num_users, sync_on_compute=False)
    results: Results = {
        "accuracy_real_to_real": _value(accuracy(), (val_logits, val.users)),
        "accuracy_real_to_generated": _value(accuracy(), (logits, generated.users)),
        "accuracy_generated_to_real": _value(accuracy(), (other_logits, val.users)),
        "frechet_distance_classifier": _value(frechet(), (val_features, True), (features, False)),
        "frechet_distance_classifier_real": _value(frechet(), (val_features, True), (matched, False)),
        "inception_score_classifier": _value(score(), (logits,)),
        "inception_score_classifier_real": _value(score(), (val_logits,)),
    }
    for user in users.tolist():
        own = generated.users == user
        share = _value(accuracy(), (logits[own], generated.users[own]))
        results[f"accuracy_real_to_generated_user_{user}"] = share
    diversity = within_user_diversity(features, generated.users)
    real = within_user_diversity(val_features, val.users)
    results |= {
        "within_user_diversity_classifier": diversity.distance,
        "within_user_diversity_classifier_real": real.distance,
        "within_user_diversity_classifier_ratio": _ratio(diversity.distance, real.distance),
        "users_without_pairs": diversity.users_left_out,
    }
    to_train = nearest_neighbour_distances(features, train_features).distances
    real_to_train = nearest_neighbour_distances(val_features, train_features).distances
    median, real_median = float(to_train.median()), float(real_to_train.median())
    results |= {
        "nearest_train_distance_classifier": median,
        "nearest_train_distance_classifier_real": real_median,
        "nearest_train_distance_classifier_ratio": _ratio(median, real_median),
        "closer_than_real_share": float((to_train < real_to_train.min()).double().mean()),
    }
    distances = [float(results[f"frechet_distance_classifier{suffix}"]) for suffix in ("", "_real")]
    results["frechet_distance_classifier_ratio"] = _ratio(*distances)
    results |= compare_measures(
        *(generated.measures, generated.users), *(train.measures, train.users), *(val.measures, val.users)
    )
    return results | summary(results)


def _matched_rows(reference: Tensor, users: Tensor, seed: int) -> Tensor:
    """Draw rows of ``users`` with each user as often as in ``reference``.

    Fewer samples or another mixture of users raise a Fréchet distance: its value for real images needs the same.
    """
    generator, rows = torch.Generator().manual_seed(seed), []
    for user in reference.unique():
        own = (users == user).nonzero().squeeze(1)
        rows.append(own[torch.randperm(len(own), generator=generator)[: int((reference == user).sum())]])
    return torch.cat(rows)


def _embed(classifier: SpectrogramClassifier, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    features = torch.cat([classifier.features(part.to(device)) for part in images.split(256)])
    return features.cpu(), classifier.classify(features).cpu()


def _value(metric: Metric, *updates: tuple[Tensor | bool, ...]) -> float:
    for update in updates:
        metric.update(*update)
    return float(metric.compute())


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else math.nan
