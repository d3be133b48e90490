"""Command lines of small experiments, and running them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from formats.errors import InputError
from formats.images import write_png

ROOT = Path(__file__).parents[2]
USERS = (1, 2, 5)  # with a gap
SIDE = 64
# Makes the full-size experiment small enough for a test.
SMALL_MODEL = [
    "--model.network.input_width=4",
    "--model.network.hidden_size=32",
    "--model.network.depth=2",
    "--model.network.num_heads=2",
    "--model.num_steps=3",
]


def write_spectrograms(folder: Path, train: int = 10, val: int = 4) -> Path:
    """Write images whose bright line is at a different height for every user."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for position, user in enumerate(USERS):
            for number in range(count):
                image = rng.integers(0, 90, (SIDE, SIDE, 3))
                image[12 + 16 * position : 18 + 16 * position] += 150
                write_png(folder / split / f"ID_{user}" / f"{number:03d}.png", image.astype(np.uint8))
    return folder


def extraction_words(data_dir: Path, output_dir: Path, *more: str) -> list[str]:
    """Return the command that turns small spectrograms into latents."""
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
    """Return the command that trains a small network in the current folder."""
    return [
        command,
        f"--config={ROOT / 'configs' / 'dit_microdoppler.yaml'}",
        f"--config={ROOT / 'configs' / 'overlays' / 'linear_latents.yaml'}",
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


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


class StopAfter(Callback):
    """Stop training from outside after some steps, and leave a checkpoint."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps:
            trainer.save_checkpoint("interrupted.ckpt")
            raise InputError("run", "interrupted", "Resume.")


def interrupted(train: Callable[..., object], steps: int) -> Path:
    """Interrupt a training command and return the checkpoint it left.

    Args:
        train: Runs the command with the given options added.
        steps: Optimizer steps before the interruption.
    """
    callback = f"--trainer.callbacks+={StopAfter.__module__}.{StopAfter.__name__}"
    with pytest.raises(InputError, match="interrupted"):
        train(callback, f"--trainer.callbacks.steps={steps}", f"--allow_classes={StopAfter.__module__}")
    return Path("interrupted.ckpt").resolve()
