"""Command lines of small experiments, and running them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback

import cli
from formats.errors import InputError
from formats.images import write_png

ROOT = Path(__file__).parents[2]
USERS = (1, 2, 5)  # with a gap
SIDE = 64
# What turns the full-size experiment into one that a test can afford.
SMALL_MODEL = [
    "--model.network.input_size=4",
    "--model.network.hidden_size=32",
    "--model.network.depth=2",
    "--model.network.num_heads=2",
    "--model.num_points=4",
]


def write_spectrograms(folder: Path, train: int = 10, val: int = 4) -> Path:
    """Images whose bright line stands at a height of its own for every user."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for place, user in enumerate(USERS):
            for number in range(count):
                image = generator.integers(0, 90, (SIDE, SIDE, 3))
                image[12 + 16 * place : 18 + 16 * place] += 150
                write_png(folder / split / f"ID_{user}" / f"{number:03d}.png", image.astype(np.uint8))
    return folder


def extraction_words(data_dir: Path, output_dir: Path, *more: str) -> list[str]:
    """Words of the command that turns small spectrograms into latents."""
    return [
        "predict",
        f"--config={ROOT / 'configs' / 'microdoppler_extract_latents.yaml'}",
        f"--data.data_dir={data_dir}",
        f"--data.output_dir={output_dir}",
        f"--data.image_size={SIDE}",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--trainer.accelerator=cpu",
        *(["--trainer.devices=1"] if not any("devices" in word for word in more) else []),
        *more,
    ]


def training_words(latents: Path, *more: str, command: str = "fit") -> list[str]:
    """Words of the command that trains a small network in the current folder."""
    return [
        command,
        f"--config={ROOT / 'configs' / 'dit_microdoppler.yaml'}",
        f"--config={ROOT / 'configs' / 'overlays' / 'tiny_microdoppler.yaml'}",
        *SMALL_MODEL,
        f"--data.data_dir={latents}",
        "--data.batch_size=8",
        "--data.samples_per_user=2",
        "--trainer.max_epochs=2",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.enable_model_summary=false",
        *more,
    ]


def run_command(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python cli.py`` as a user would, in its own process."""
    environment = {**os.environ, "WANDB_MODE": "disabled", "COLUMNS": "200"}
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint the safe way."""
    return torch.load(path, map_location="cpu", weights_only=True)


def interrupted(train: Callable[[], object], steps: int) -> Path:
    """Stop a training command from outside after some steps, and give the checkpoint it left."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == steps:
                trainer.save_checkpoint("cut.ckpt")
                raise InputError("run", "interrupted", "Resume.")

    class Interrupted(cli.Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.callbacks.append(Stop())

    before, cli.Trainer = cli.Trainer, Interrupted
    try:
        with pytest.raises(InputError, match="interrupted"):
            train()
    finally:
        cli.Trainer = before
    return Path("cut.ckpt").resolve()
