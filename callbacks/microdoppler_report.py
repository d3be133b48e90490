"""Prints the evaluation of a micro-Doppler generator as a table and writes it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from exporters.visualization.report.page import Section
from exporters.visualization.report.quality import number_text, quality_tables, real_value, title_of
from exporters.visualization.report.spectrograms import SpectrogramRow, spectrograms_section
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
SHOWN = 4  # images of each user and kind in the report of the run
SHOWN_USERS = 12


class MicroDopplerReport(Callback):
    """Print the results of ``test`` as a table and write them to ``evaluation.json`` in the run's folder."""

    def __init__(self) -> None:
        self.images: dict[tuple[int, str], list[NDArray[np.uint8]]] = {}  # by user and kind

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the images of an earlier test."""
        self.images = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first validation and generated images of each user."""
        if dataloader_idx == 0:
            return
        kind = "real" if dataloader_idx == 1 else "generated"
        images = batch["images"] if dataloader_idx == 1 else outputs["generated"]
        for row, user in enumerate(batch["user_ids"].tolist()):
            kept = self.images.setdefault((user, kind), [])
            if len(kept) < SHOWN and ("weights" not in batch or batch["weights"][row] > 0):
                kept.append(images[row].permute(1, 2, 0).cpu().numpy())

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Show real next to generated images, with the measures, in the report of the run."""
        assert isinstance(pl_module, UserConditionedDiTModule)
        if pl_module.test_results is None:
            return []
        space = pl_module.require_latent_space()
        users = [user for user in space.user_ids.tolist() if (user, "generated") in self.images][:SHOWN_USERS]
        rows = [
            SpectrogramRow(user, kind, self.images[user, kind])
            for user in users
            for kind in ("real", "generated")
            if self.images.get((user, kind))
        ]
        measures = quality_tables(pl_module.test_results, space.user_ids.tolist())
        return [spectrograms_section("Real and generated spectrograms", rows, space.axes, measures)]

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
    shown = Table(title=title_of(results), caption=_caption(results))
    shown.caption_justify = "left"
    shown.add_column("measure")
    for column in ("generated", "real", "bar", "met", "worst user class"):
        shown.add_column(column, justify="right", no_wrap=column != "worst user class")
    for bar, score in rank(results):
        user = worst_user(bar, results)
        worst = "" if user is None else f"{user}: {number_text(results[f'{bar.key}_user_{user}'])}"
        values = (number_text(results[bar.key]), number_text(real_value(bar.key, results)))
        shown.add_row(bar.label, *values, bar.text(), "yes" if score <= 1 else "no", worst)
    shown.add_section()
    for label, key, better in _ROWS:
        if key in results:
            shown.add_row(label, number_text(results[key]), number_text(real_value(key, results)), better)
    return shown


def _caption(results: Mapping[str, float | int | str]) -> str:
    stem = "accuracy_real_to_generated_user_"
    users = {key.removeprefix(stem): float(results[key]) for key in results if key.startswith(stem)}
    worst = min(users, key=lambda user: users[user])
    return (
        f"{results['num_generated']} generated images of {results['num_users_generated']} users, compared with "
        f"{results['num_val']} real ones ({results['num_train']} in training) of {results['num_users']}. "
        f"Least recognised: user class {worst}, {number_text(users[worst])}. "
        f"* In the features of the classifier trained on real images. Inception: {results['inception']}."
    )
