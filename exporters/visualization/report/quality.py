"""Tables of the measures of generated spectrograms, next to real ones and their bars."""

from __future__ import annotations

import math
from collections.abc import Mapping

from exporters.visualization.report.page import table
from exporters.visualization.report.spectrograms import values_by_user
from metrics.spectrogram_quality import rank

_REAL: dict[str, str | float] = {  # where the key of the real images' value is not the same with _real
    "accuracy_real_to_generated": "accuracy_real_to_real",
    "within_user_diversity_classifier_ratio": 1.0,
    "frechet_distance_classifier_ratio": 1.0,
    "accuracy_generated_to_real": "accuracy_real_to_real",
    "nearest_train_distance_classifier_ratio": 1.0,
    "closer_than_real_share": 0.0,
}


def quality_tables(results: Mapping[str, float | int | str], user_ids: list[int]) -> str:
    """Lay out the measures as HTML: each next to its value on real data and its bar, then those of each user.

    Args:
        results: Results of ``MicroDopplerEvaluation.compute``.
        user_ids: ID of each class, as in the folder names.
    """
    rows, by_user = [], dict[str, dict[int, float]]()
    for bar, score in rank(results):
        values = (number_text(results[bar.key]), number_text(real_value(bar.key, results)))
        rows.append((bar.label, "✓ met" if score <= 1 else "✗ missed", *values, bar.text()))
        stem = f"{bar.key}_user_"
        found = {user_ids[int(key.removeprefix(stem))]: float(results[key]) for key in results if key.startswith(stem)}
        if found:
            by_user[bar.label] = found
    shown = table(("measure", "result", "generated", "real", "bar"), rows, title_of(results), (2, 3, 4))
    header, lines = values_by_user(by_user)
    return shown + (table(header, lines, "Generated images of each user", range(1, len(header))) if lines else "")


def title_of(results: Mapping[str, float | int | str]) -> str:
    """Summarise how many bars are met."""
    title = "Generated micro-Doppler spectrograms"
    if "bars_met" not in results:
        return title
    return f"{title}: {results['bars_met']} of {results['num_bars']} bars met, worst {results['worst_measure']}"


def real_value(key: str, results: Mapping[str, float | int | str]) -> float | int | str | None:
    """Return the value of real images for a measure of generated ones."""
    real = _REAL.get(key, f"{key}_real")
    return results.get(real) if isinstance(real, str) else real


def number_text(value: float | int | str | None) -> str:
    """Write a value with three digits; – where it is not known."""
    if value is None or math.isnan(float(value)):
        return "–"
    return f"{value:.3f}" if float(value) < 100 else f"{value:,.0f}"
