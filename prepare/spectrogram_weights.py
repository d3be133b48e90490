"""The generator of simulated users that is part of the repository: train it again and write it with its card."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from formats.errors import InputError
from formats.latent_space import CHECKPOINT_KEY, LatentSpace
from formats.local_files import read_json_object
from formats.training_checkpoint import read_training_checkpoint
from lightning_modules.shipped_generator import MIXTURE, SAMPLING, save_generator
from metrics.spectrogram_physics import image_levels, measure
from metrics.spectrogram_quality import BARS, compare_measures
from networks.config import config_from
from networks.lightning_dit import LightningDiTConfig
from networks.tokenizers import LappedPCA
from prepare.pipeline import demo, read_finished
from prepare.training_runs import best_checkpoint
from weights import FOLDER

NAME = "spectrograms_simulated"

SUMMARY = "spectrograms of five simulated walkers (users 1, 2, 4, 5, 7) seen by a 77 GHz radar"
DATA = (
    "480 simulated spectrograms of five walkers: prepare microdoppler-sample with its defaults (77 GHz, 2.5 s, "
    "-1.5 to 6 m/s, 18 dB, jet, seed 0); 120 more for validation"
)
LIMITS = (
    "Knows these five simulated walkers and this radar only; real recordings need training on real spectrograms. "
    "Speckle is drawn from the statistics of the training images, not computed."
)


def spectrograms_simulated(output_dir: Path = Path("runs/spectrograms_simulated"), weights_dir: Path = FOLDER) -> None:
    """Run the demo and write its generator to the repository's weights, with a card of what was measured.

    Args:
        output_dir: Folder of the demo.
        weights_dir: Folder for ``spectrograms_simulated.safetensors`` and ``.yaml``.

    Raises:
        InputError: The demo left no checkpoint or no evaluation.
    """
    demo(output_dir)
    checkpoint, evaluation = best_checkpoint(output_dir / "training"), output_dir / "evaluation" / "evaluation.json"
    if checkpoint is None or not evaluation.is_file():
        raise InputError(output_dir, "holds no checkpoint and evaluation", "Run the command again.")
    content = read_training_checkpoint(checkpoint)
    settings = content["hyper_parameters"]
    stages = read_finished(output_dir / "pipeline.json")
    seconds = next(stage["seconds"] for stage in stages if stage["name"] == "train")
    card = {
        "summary": SUMMARY,
        "data": DATA,
        "command": f"make weights NAME={NAME}",
        "training_time": f"{seconds:.0f} s",
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "measures": card_measures(
            read_json_object(evaluation, "Run the command again."), mean_images(output_dir / "spectrograms")
        ),
        "limits": LIMITS,
        "licence": "Apache-2.0",
        "sampling": {name: settings[name] for name in SAMPLING},
        "mixture": {name: settings[name] for name in MIXTURE},
    }
    space = LatentSpace.from_checkpoint(content[CHECKPOINT_KEY])
    config = config_from(LightningDiTConfig, settings["network"])
    tokenizer = LappedPCA.load(space.tokenizer)
    path = save_generator(NAME, content["state_dict"], config, space, tokenizer, card, weights_dir, torch.float16)
    print(f"{path}: {SUMMARY}")


def mean_images(data_dir: Path) -> dict[str, float]:
    """Measure each user's mean training image, the simplest generator, as `test` measures a generator's images."""
    tables, users, means = [], [], []
    for split in ("train", "val"):
        files = find_spectrograms(data_dir, split)
        batch = SpectrogramDataset(files).__getitems__(list(range(len(files))))
        levels = image_levels(batch["images"])
        tables.append(measure(levels))
        users.append(batch["user_ids"])
        if split == "train":
            means = [levels[batch["user_ids"] == user].mean(0) for user in batch["user_ids"].unique()]
    return compare_measures(measure(torch.stack(means)), users[0].unique(), tables[0], users[0], tables[1], users[1])


def card_measures(results: Mapping[str, Any], baseline: Mapping[str, float]) -> dict[str, Any]:
    """Return the measures that have a bar, with those of real validation images and of mean images if there are any.

    Args:
        results: Those of the evaluation.
        baseline: Those of mean images.
    """
    measures: dict[str, Any] = {}
    for bar in BARS:
        entry: dict[str, Any] = {"generated": round(float(results[bar.key]), 4), "bar": bar.text()}
        real = results.get(f"{bar.key}_real")
        if real is not None:
            entry["real"] = round(float(real), 4)
        if bar.key in baseline:
            entry["mean image of each user"] = round(baseline[bar.key], 4)
        entry["met"] = bar.score(float(results[bar.key])) <= 1
        measures[bar.label] = entry
    return measures
