from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from lightning import LightningModule, Trainer
from rich.console import Console

from callbacks.microdoppler_report import MicroDopplerReport, evaluation_table
from formats.errors import InputError
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule


def test_table_reads_in_a_terminal() -> None:
    results: dict[str, float | int | str] = {
        "accuracy_real_to_generated": 0.5,
        "accuracy_real_to_real": 0.975,
        "accuracy_real_to_generated_user_0": 0.75,
        "accuracy_real_to_generated_user_3": 0.25,
        "frechet_distance_classifier": 1234.5,
        "frechet_distance_classifier_real": 2.0,
        "within_user_diversity_classifier_ratio": math.nan,
        "ridge_breaks": 0.15,
        "ridge_breaks_real": 0.0,
        "ridge_breaks_user_0": 0.0,
        "ridge_breaks_user_3": 0.3,
        "frechet_distance_inception": 12.0,
        **{"num_users": 4, "num_users_generated": 2, "num_train": 9, "num_val": 8, "num_generated": 7},
        "inception": "weights from here",
    }
    stream = io.StringIO()
    Console(file=stream, width=150).print(evaluation_table(results))
    lines = stream.getvalue().splitlines()

    def row(start: str) -> list[str]:
        return [cell.strip() for cell in next(line for line in lines if start in line).split("│")[2:5]]

    assert row("recognised as their user") == ["0.500", "0.975", "≥ 0.95"]
    assert row("Fréchet distance") == ["1,234", "2.000", "↓"]
    assert row("Breaks of the torso") == ["0.150", "0.000", "≤ 0.3"]
    assert "3: 0.300" in next(line for line in lines if "Breaks" in line)
    assert row("Diversity within") == ["–", "1.000", "0.85 … 1.15"]
    order = [next(i for i, line in enumerate(lines) if text in line) for text in ("Diversity", "recognised", "Breaks")]
    assert order == sorted(order)  # what is missed most comes first
    assert row("Fréchet inception") == ["12.000", "–", "↓"]
    assert "Inception score" not in stream.getvalue()
    assert "user class 3, 0.250" in " ".join(stream.getvalue().split())


def test_results_are_written_to_the_folder_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(logger=False, default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False)
    module = UserConditionedDiTModule()
    MicroDopplerReport().on_test_end(trainer, module)
    assert not list(tmp_path.iterdir())  # no test, no file
    module.test_results = {
        "accuracy_real_to_generated_user_1": 0.5,
        **{f"num_{kind}": 3 for kind in ("users", "users_generated", "train", "val", "generated")},
        "inception": "weights not found",
    }
    MicroDopplerReport().on_test_end(trainer, module)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == module.test_results
    assert f"written to {tmp_path / 'evaluation.json'}" in capsys.readouterr().out
    with pytest.raises(InputError, match="cannot report on LightningModule"):
        MicroDopplerReport().on_test_end(trainer, LightningModule())
