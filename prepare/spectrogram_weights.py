"""The generator of simulated users that is part of the repository: train it again and write it with its card."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from formats.errors import InputError
from formats.latent_space import CHECKPOINT_KEY, LatentSpace
from formats.local_files import read_json_object
from formats.training_checkpoint import read_training_checkpoint
from lightning_modules.shipped_generator import SAMPLING, save_generator
from metrics.spectrogram_quality import BARS
from networks.config import config_from
from networks.lightning_dit import LightningDiTConfig
from networks.tokenizers import LappedPCA
from prepare.pipeline import demo, newest_checkpoint, read_finished, read_guidance_scale
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
    demo(output_dir, tune_guidance=True)
    checkpoint, evaluation = newest_checkpoint(output_dir / "training"), output_dir / "evaluation" / "evaluation.json"
    if checkpoint is None or not evaluation.is_file():
        raise InputError(output_dir, "holds no checkpoint and evaluation", "Run the command again.")
    content = read_training_checkpoint(checkpoint)
    settings = content["hyper_parameters"]
    chosen = read_guidance_scale(output_dir / "guidance.json")
    stages = read_finished(output_dir / "pipeline.json")
    seconds = next(stage["seconds"] for stage in stages if stage["name"] == "train")
    card = {
        "summary": SUMMARY,
        "data": DATA,
        "command": f"make weights NAME={NAME}",
        "training_time": f"{seconds:.0f} s",
        "hardware": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "measures": card_measures(read_json_object(evaluation, "Run the command again.")),
        "limits": LIMITS,
        "licence": "Apache-2.0",
        "sampling": {name: settings[name] for name in SAMPLING} | {"guidance_scale": chosen},
    }
    space = LatentSpace.from_checkpoint(content[CHECKPOINT_KEY])
    prefix = "network."
    state = {key.removeprefix(prefix): value for key, value in content["state_dict"].items() if key.startswith(prefix)}
    config = config_from(LightningDiTConfig, settings["network"])
    path = save_generator(NAME, state, config, space, LappedPCA.load(space.tokenizer), card, weights_dir)
    print(f"{path}: {SUMMARY}")


def card_measures(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures that have a bar, with the value of real validation images where there is one."""
    measures: dict[str, Any] = {}
    for bar in BARS:
        entry: dict[str, Any] = {"generated": round(float(results[bar.key]), 4), "bar": bar.text()}
        real = results.get(f"{bar.key}_real")
        if real is not None:
            entry["real"] = round(float(real), 4)
        entry["met"] = bar.score(float(results[bar.key])) <= 1
        measures[bar.label] = entry
    return measures
