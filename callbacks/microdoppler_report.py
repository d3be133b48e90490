"""Prints the evaluation of a micro-Doppler generator as a table and writes it as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from formats.atomic import write_json
from formats.errors import InputError
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from metrics.spectrogram_quality import rank, worst_user

EVALUATION = "evaluation.json"

_ROWS = (  # label, key, which way is better; measures without a bar
    ("Real images recognised after training on generated ones", "accuracy_generated_to_real", "↑"),
    ("Fréchet distance to real images *", "frechet_distance_classifier", "↓"),
    ("Classifier score (clear and of all users)", "inception_score_classifier", "↑"),
    ("Distance to the nearest training image *", "nearest_train_distance_classifier", "≈ real"),
    ("… divided by the real one (0: copies)", "nearest_train_distance_classifier_ratio", "≈ 1"),
    ("Share nearer to training than any real image *", "closer_than_real_share", "↓"),
    ("Fréchet inception distance", "frechet_distance_inception", "↓"),
    ("Inception score", "inception_score", "↑"),
)
_REAL: dict[str, str | float] = {  # where the key of the real images' value is not the same with _real
    "accuracy_real_to_generated": "accuracy_real_to_real",
    "within_user_diversity_classifier_ratio": 1.0,
    "frechet_distance_classifier_ratio": 1.0,
    "accuracy_generated_to_real": "accuracy_real_to_real",
    "nearest_train_distance_classifier_ratio": 1.0,
    "closer_than_real_share": 0.0,
}


class MicroDopplerReport(Callback):
    """Print the results of ``test`` as a table and write them to ``evaluation.json`` in the run's folder."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the first process.

        Raises:
            InputError: The module is not a UserConditionedDiTModule.
        """
        if not isinstance(pl_module, UserConditionedDiTModule):
            fault = f"cannot report on {type(pl_module).__name__}"
            raise InputError("MicroDopplerReport", fault, "Use it with UserConditionedDiTModule.")
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # log_dir must be read on every process
        if trainer.is_global_zero and pl_module.test_results is not None:
            Console().print(evaluation_table(pl_module.test_results))
            write_json(folder / EVALUATION, pl_module.test_results)
            print(f"written to {folder / EVALUATION}")


def evaluation_table(results: Mapping[str, float | int | str]) -> Table:
    """Lay out the results of ``MicroDopplerEvaluation.compute``, each measure next to its value on real data.

    First the measures with a bar, the one that is missed most leading, with the user who is worst in it; then the
    others.
    """
    table = Table(title=_title(results), caption=_caption(results))
    table.caption_justify = "left"
    table.add_column("measure")
    for column in ("generated", "real", "bar", "met", "worst user class"):
        table.add_column(column, justify="right", no_wrap=column != "worst user class")
    for bar, score in rank(results):
        user = worst_user(bar, results)
        worst = "" if user is None else f"{user}: {_number(results[f'{bar.key}_user_{user}'])}"
        values = (_number(results[bar.key]), _number(_real_value(bar.key, results)))
        table.add_row(bar.label, *values, bar.text(), "yes" if score <= 1 else "no", worst)
    table.add_section()
    for label, key, better in _ROWS:
        if key in results:
            table.add_row(label, _number(results[key]), _number(_real_value(key, results)), better)
    return table


def _title(results: Mapping[str, float | int | str]) -> str:
    title = "Generated micro-Doppler spectrograms"
    if "bars_met" not in results:
        return title
    return f"{title}: {results['bars_met']} of {results['num_bars']} bars met, worst {results['worst_measure']}"


def _real_value(key: str, results: Mapping[str, float | int | str]) -> float | int | str | None:
    real = _REAL.get(key, f"{key}_real")
    return results.get(real) if isinstance(real, str) else real


def _caption(results: Mapping[str, float | int | str]) -> str:
    stem = "accuracy_real_to_generated_user_"
    users = {key.removeprefix(stem): float(results[key]) for key in results if key.startswith(stem)}
    worst = min(users, key=lambda user: users[user])
    return (
        f"{results['num_generated']} generated images of {results['num_users_generated']} users, compared with "
        f"{results['num_val']} real ones ({results['num_train']} in training) of {results['num_users']}. "
        f"Least recognised: user class {worst}, {_number(users[worst])}. "
        f"* In the features of the classifier trained on real images. Inception: {results['inception']}."
    )


def _number(value: float | int | str | None) -> str:
    if value is None or math.isnan(float(value)):
        return "–"
    return f"{value:.3f}" if float(value) < 100 else f"{value:,.0f}"
