"""Train, measure and save the depth and camera weights of the repository."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

import configs
from formats.atomic import write_json, write_text
from formats.errors import InputError
from formats.local_files import read_csv
from formats.training_checkpoint import read_training_checkpoint
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from networks.shipped_weights import save_shipped
from prepare.depth_measures import measure
from prepare.job_report import write_job_report
from prepare.pipeline import Job, Stage, run_training
from prepare.trained_module import load_trained
from prepare.training_runs import newest_checkpoint
from weights import FOLDER

NAME = "depth_simulated"
IMAGE_SIZE = 112
# Bars on 100 held-out simulated pairs: measure → (limit, whether it is an upper one).
BARS = {
    "abs_rel_scaled": (0.12, True),
    "delta_1.25_scaled": (0.85, False),
    "rotation_accuracy_15": (0.80, False),
    "auc_30": (0.50, False),
}
CURVE = ("abs_rel_scaled", "delta_1.25_scaled", "rotation_accuracy_15", "auc_30", "rotation_error")

DATA = (
    "4,500 pairs of simulated scenes, a quarter each rooms, towns, terrain and random solids, of 112 × 84 pixels: "
    "prepare scenes-sample, seed 0. Two cameras look at the same place, the first from 15 to 55 degrees above it, the "
    "second from 4 to 30 degrees; headings differ by up to 60 degrees, distances by a factor of up to 2.7, and each "
    "sees at least 30 % of what the other sees. Rotation between the views: median 32 degrees, 13 % below 15, largest "
    "79. Validation and test pairs are drawn in the same way from scenes of their own. Depths beyond the 98th "
    "percentile of an image and the sky are left out."
)
LIMITS = (
    "Trained on simulated scenes alone; on photographs, depth and cameras are guesses. Small images (112 pixels), two "
    "views, pinhole cameras without lens distortion."
)


def depth_simulated(
    output_dir: Path = Path("runs/depth_simulated"),
    data_dir: Path = Path("data/scenes"),
    weights_dir: Path = FOLDER,
    checkpoint: Path | None = None,
    training_time: str | None = None,
    max_steps: int | None = None,
    num_train: int = 4500,
    num_test: int = 100,
    seed: int = 0,
    num_workers: int = 1,
) -> None:
    """Simulate scenes, train the small VGGT on them, measure it on held-out scenes, and save weights and card.

    Repeated after a failure, it continues where it stopped, and within training from the last checkpoint.

    Args:
        output_dir: Folder for the training run and the measures.
        data_dir: Folder for the simulated scenes.
        weights_dir: Folder for the weights.
        checkpoint: Training checkpoint to measure and save instead of training.
        training_time: Duration of the training for the card; by default as measured.
        max_steps: Steps of training; by default as in configs/pair_simulated.yaml.
        num_train: Scenes for training.
        num_test: Scenes for validation and for testing.
        seed: Seed of the training; the scenes' seed is 0.
        num_workers: Processes that render.
    """
    job = Job(output_dir)
    counts = (
        f"--num_train={num_train}",
        f"--num_val={num_test}",
        f"--num_test={num_test}",
        f"--num_workers={num_workers}",
    )
    job.run(Stage("simulate", ("prepare", "scenes-sample", f"--out={data_dir}", *counts)))
    if checkpoint is None:
        checkpoint = _train(job, data_dir, seed, max_steps)
        training_time = training_time or f"{job.seconds['train'] / 60:.0f} minutes"
    module = load_trained(PairDepthCameraModule, checkpoint)
    result = measure(data_dir, module, IMAGE_SIZE, "test")
    steps = int(read_training_checkpoint(checkpoint)["global_step"])
    result = {**result, "bars": judged(result["network"]), "steps": steps, "curve": curve(checkpoint.parents[1])}
    write_json(output_dir / "measures.json", result)
    card = card_of(module, result, training_time or "not recorded")
    path = save_shipped(NAME, module.network.state_dict(), card, weights_dir, torch.float16)
    for name, reached in result["bars"].items():
        print(f"{name}: {result['network'][name]:.3f}, bar {BARS[name][0]} {'reached' if reached else 'NOT reached'}")
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB) after {steps} steps, and {output_dir / 'measures.json'}")
    write_job_report(output_dir, job.seconds)


def _train(job: Job, data_dir: Path, seed: int, max_steps: int | None) -> Path:
    runs = job.output_dir / "training"
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(job.output_dir), "name": "training"}}
    run_folder = job.output_dir / "run_folder.yaml"
    if not run_folder.is_file():
        write_text(run_folder, yaml.safe_dump({"trainer": {"logger": [logger]}}))
    words = ["fit", f"--config={configs.FOLDER / 'pair_simulated.yaml'}", f"--config={run_folder}"]
    words += [f"--data.data_dir={data_dir}", f"--data.segmentation_dir={data_dir / 'seg'}", f"--seed_everything={seed}"]
    words += [f"--data.seed={seed}"] + ([f"--trainer.max_steps={max_steps}"] if max_steps else [])
    run_training(job, Stage("train", tuple(words)), runs)
    checkpoint = newest_checkpoint(runs)
    assert checkpoint is not None
    return checkpoint


def judged(measures: Mapping[str, float]) -> dict[str, bool]:
    """Say of each bar whether the network reaches it."""
    return {
        name: measures[name] <= limit if upper else measures[name] >= limit for name, (limit, upper) in BARS.items()
    }


def curve(run: Path) -> list[dict[str, float]]:
    """Return the validation measures of a training run by step, from its ``metrics.csv`` and those it continues.

    Args:
        run: Folder ``version_<n>`` of the run; folders with a lower number are earlier parts of it.
    """
    points: dict[int, dict[str, float]] = {}
    for folder in sorted(run.parent.glob("version_*"), key=lambda path: int(path.name.removeprefix("version_"))):
        path = folder / "metrics.csv"
        if not path.is_file():
            continue
        remedy = "Restore the file, or train again."
        for row in read_csv(path, remedy):
            if not row.get("val/abs_rel_scaled"):
                continue
            try:
                step = int(row["step"] or "") + 1
                points[step] = {"step": step, **{name: round(float(row[f"val/{name}"] or ""), 4) for name in CURVE}}
            except (KeyError, ValueError) as fault:
                raise InputError(path, f"lacks a number: {fault}", remedy) from fault
        if folder == run:
            break
    return [points[step] for step in sorted(points)]


def card_of(module: PairDepthCameraModule, result: Mapping[str, Any], training_time: str) -> dict[str, Any]:
    """Return the card of the weights."""
    reached = [name for name, is_reached in result["bars"].items() if is_reached]
    missed = [name for name, is_reached in result["bars"].items() if not is_reached]
    return {
        "summary": "depth and cameras of two images, a small VGGT trained on simulated scenes only; "
        f"{len(reached)} of {len(BARS)} bars are reached on held-out scenes",
        "data": DATA,
        "command": f"make weights NAME={NAME}",
        "steps": result["steps"],
        "training_time": training_time,
        "hardware": f"1 thread of a CPU ({_processor()})",
        "measures": {
            "pairs": result["pairs"],
            **{name: result[name] for name in result if isinstance(result[name], dict) and name != "bars"},
            "bars": {name: f"{'<=' if upper else '>='} {limit}" for name, (limit, upper) in BARS.items()},
            "reached": reached or "none",
            "not_reached": missed or "none",
        },
        "curve": result["curve"] or "not recorded",
        "mean_confidence_quantiles": result["mean_confidence_quantiles"],
        "limits": LIMITS,
        "licence": "that of this repository, see LICENSE",
        "storage": "float16; computed in float32",
        "network": _plain(dict(module.hparams["network"])),
        "settings": {"data": {"init_args": {"image_size": IMAGE_SIZE}}},
    }


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, for YAML."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.is_file()
        else []
    )
    return f"{names[0] if names else platform.processor() or 'unknown'}, {os.cpu_count()} cores"
