"""Choose a generator's guidance scale by measures of its images."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from formats.atomic import write_json
from formats.errors import InputError
from formats.progress import progress
from lightning_modules.microdoppler_evaluation import MicroDopplerEvaluation
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from metrics.spectrogram_quality import rank
from prepare.trained_module import load_trained

_SEED = 1_000_003  # of the samples: others than those of a test
_BATCH = 32
_LIMIT = 1024  # real images


def tune_guidance(
    checkpoint: Path,
    data_dir: Path,
    out: Path,
    scales: tuple[float, ...] = (1.0, 1.5, 2.5, 4.0),
    samples_per_user: int = 8,
    num_steps: int | None = None,
) -> None:
    """Measure a generator's images at several guidance scales and write the best scale.

    The images are compared with real training images, half of them in the place of the validation images, so that
    a later test on the validation images has no part in the choice. Best is the scale whose worst measure misses
    its bar least.

    Args:
        checkpoint: Training checkpoint of a UserConditionedDiTModule.
        data_dir: Folder of the spectrograms that it was trained on, with train/ID_<n>/*.png.
        out: JSON file for the chosen scale and the measures at each.
        scales: Guidance scales to try.
        samples_per_user: Images per user and scale, at least 2.
        num_steps: Evaluations of the network per sample; None takes the checkpoint's.

    Raises:
        InputError: There is nothing to choose from, or a file cannot be used.
    """
    if not scales or samples_per_user < 2:
        remedy = "Give one or more scales and 2 or more samples per user."
        raise InputError("tune-guidance", f"scales {list(scales)}, {samples_per_user} samples per user", remedy)
    module = load_trained(UserConditionedDiTModule, checkpoint)
    module.eval()
    module.hparams["sample_seed"] = _SEED
    if num_steps is not None:
        module.hparams["num_steps"] = num_steps
    images, user_ids = _training_images(data_dir)
    space = module.require_latent_space()
    users, requested = space.classes(user_ids), space.user_ids.repeat_interleave(samples_per_user)
    indices = torch.arange(samples_per_user).repeat(len(space.user_ids))

    found = []
    for scale in scales:
        module.hparams["guidance_scale"] = float(scale)
        evaluation = MicroDopplerEvaluation(len(space.user_ids), zero_doppler_row=module.zero_doppler_row)
        evaluation.add_real(images[::2], users[::2], "train")
        evaluation.add_real(images[1::2], users[1::2], "val")
        parts = zip(requested.split(_BATCH), indices.split(_BATCH), strict=True)
        batches = progress(parts, f"batches of guidance scale {scale:g}", -(-len(requested) // _BATCH))
        generated = torch.cat([module.generate(ids, numbers) for ids, numbers in batches])
        evaluation.add_generated(generated, space.classes(requested))
        found.append((float(scale), evaluation.compute()))
        print(f"guidance scale {scale:g}: worst measure {found[-1][1]['worst_measure']}", flush=True)

    best = min(found, key=lambda entry: float(entry[1]["worst_measure_score"]))[0]
    table = Table(title=f"guidance scale {best:g} chosen", title_justify="left")
    table.add_column("measure")
    for scale, _ in found:
        table.add_column(f"{scale:g}", justify="right")
    for bar, _ in rank(found[0][1]):
        table.add_row(f"{bar.label} ({bar.text()})", *(f"{float(results[bar.key]):.3f}" for _, results in found))
    Console().print(table)
    write_json(out, {"guidance_scale": best, "measures": {f"{scale:g}": results for scale, results in found}})


def _training_images(data_dir: Path) -> tuple[Tensor, Tensor]:
    """Read training images (N, 3, 256, 256) uint8, at most ``_LIMIT`` evenly spread, and their user IDs (N,)."""
    dataset = SpectrogramDataset(find_spectrograms(data_dir, "train"), resize=True)
    rows = torch.linspace(0, len(dataset) - 1, min(_LIMIT, len(dataset))).round().long().tolist()
    batch = dataset.__getitems__(rows)
    return batch["images"], batch["user_ids"]
