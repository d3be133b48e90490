"""Generated spectrograms against the same users' real ones by what `spectrogram_physics` measures, and the bars.

Example::

    results = compare_measures(generated, users, train, train_users, val, val_users)
    results |= {"accuracy_real_to_generated": 0.98}
    worst = rank(results)[0]                       # the bar that is missed most, or met with the least margin
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from metrics.spectrogram_physics import MEASURES

TOLERANCE = 0.05  # of step rate and torso speed, relative to the user's own
_RATIOS = ("noise_floor", "speckle", "step_regularity")


@dataclass(frozen=True)
class Bar:
    """Limits that a measure of generated images must reach.

    Args:
        key: Name of the measure in the results; the value of real images has the same name and ``_real``.
        label: What it is, for a reader.
        kind: ``most``: at most ``limit``; ``least``: a share of at least ``limit``; ``ratio``: between
            2 − ``limit`` and ``limit``, a ratio to real images.
        limit: The bar.
    """

    key: str
    label: str
    kind: Literal["most", "least", "ratio"]
    limit: float

    def score(self, value: float) -> float:
        """Distance from the ideal in units of the bar's: 0 is ideal, up to 1 the bar is met, above it is missed."""
        if math.isnan(value):
            return math.inf
        if self.kind == "most":
            return max(value, 0.0) / self.limit
        if self.kind == "least":
            return (1 - value) / (1 - self.limit)
        return abs(value - 1) / (self.limit - 1)

    def text(self) -> str:
        """The bar in a few characters."""
        if self.kind == "most":
            return f"≤ {self.limit:g}"
        return f"≥ {self.limit:g}" if self.kind == "least" else f"{2 - self.limit:.2f} … {self.limit:.2f}"


BARS = (
    Bar("border_ratio_16", "Step across borders of 16 px blocks / elsewhere", "most", 1.15),
    Bar("border_ratio_32", "Step across borders of 32 px blocks / elsewhere", "most", 1.15),
    Bar("ridge_breaks", "Breaks of the torso's line per image", "most", 0.3),
    Bar("step_rate_share", "Share of images within 5 % of the user's step rate", "least", 0.9),
    Bar("torso_speed_share", "Share of images within 5 % of the user's torso speed", "least", 0.9),
    Bar("step_regularity_ratio", "Regularity of the steps, generated / real", "ratio", 1.10),
    Bar("noise_floor_ratio", "Noise floor, generated / real", "ratio", 1.25),
    Bar("speckle_ratio", "Speckle of the noise floor, generated / real", "ratio", 1.25),
    Bar("frechet_distance_classifier_ratio", "Fréchet distance to real images / real floor *", "most", 3.0),
    Bar("within_user_diversity_classifier_ratio", "Diversity within a user, generated / real *", "ratio", 1.15),
    Bar("accuracy_real_to_generated", "Generated images recognised as their user's", "least", 0.95),
)


def compare_measures(
    generated: Tensor, users: Tensor, train: Tensor, train_users: Tensor, val: Tensor, val_users: Tensor
) -> dict[str, float]:
    """Compare measures of generated and of real images user by user.

    The user's own value is the mean over the real training images. Per measure of `MEASURES` the result holds
    the mean over users of the generated images and, with ``_real``, of the validation images; ``…_ratio`` is
    generated over validation, with ``_real`` 1; ``step_rate_share`` and ``torso_speed_share`` are shares of
    images within 5 % of the user's own value. Each is there for every user too, as ``…_user_<class index>``.

    Args:
        generated: (N, 8) measures, see ``spectrogram_physics.measure``.
        users: (N,) class index of each row.
        train: (M, 8) measures of real training images.
        train_users: (M,).
        val: (K, 8) measures of real validation images.
        val_users: (K,).
    """
    per_user: dict[str, dict[int, float]] = {}
    for user in users.unique().tolist():
        made, own, held_out = generated[users == user], train[train_users == user], val[val_users == user]
        values = {name: float(made[:, place].mean()) for place, name in enumerate(MEASURES)}
        values |= {f"{name}_real": float(held_out[:, place].mean()) for place, name in enumerate(MEASURES)}
        for name in ("step_rate", "torso_speed"):
            place = MEASURES.index(name)
            for table, suffix in ((made, ""), (held_out, "_real")):
                away = (table[:, place] / own[:, place].mean() - 1).abs()
                values[f"{name}_share{suffix}"] = float((away <= TOLERANCE).double().mean())
        for name in _RATIOS:
            values[f"{name}_ratio"] = values[name] / max(values[f"{name}_real"], 1e-9)
            values[f"{name}_ratio_real"] = 1.0
        for name, value in values.items():
            per_user.setdefault(name, {})[user] = value
    results: dict[str, float] = {}
    for name, by_user in per_user.items():
        results[name] = sum(by_user.values()) / len(by_user)
        results |= {f"{name}_user_{user}": value for user, value in by_user.items()}
    return results


def rank(results: Mapping[str, float | int | str]) -> list[tuple[Bar, float]]:
    """Return the bars that the results hold a measure of, each with its score, the worst first."""
    scores = [(bar, bar.score(float(results[bar.key]))) for bar in BARS if bar.key in results]
    return sorted(scores, key=lambda entry: -entry[1])


def summary(results: Mapping[str, float | int | str]) -> dict[str, float | int | str]:
    """Return ``worst_measure``, its ``worst_measure_score``, ``bars_met`` and ``num_bars``."""
    ranked = rank(results)
    bar, score = ranked[0]
    met = sum(score <= 1 for _, score in ranked)
    return {"worst_measure": bar.key, "worst_measure_score": score, "bars_met": met, "num_bars": len(ranked)}


def worst_user(bar: Bar, results: Mapping[str, float | int | str]) -> int | None:
    """Return the class index of the user whose images reach the bar least, or None where users are not measured."""
    stem = f"{bar.key}_user_"
    users = [int(name.removeprefix(stem)) for name in results if name.startswith(stem)]
    return max(users, key=lambda user: bar.score(float(results[f"{stem}{user}"])), default=None)
