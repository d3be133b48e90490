"""Writes generated spectrograms, a grid of them, and the settings they were generated with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from numpy.typing import NDArray

from batches.microdoppler import SampleRequestBatch
from batches.trainer import datamodule_of
from callbacks.prediction_writer import PredictionWriter
from datamodules.sample_requests import SampleRequestDataModule, sample_name, sample_pattern
from exporters.visualization.report.page import Section, table
from exporters.visualization.report.spectrograms import SpectrogramRow, spectrograms_section, values_by_user
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.atomic import write_json
from formats.errors import InputError
from formats.images import read_rgb, write_png
from formats.local_files import read_json_object
from formats.ranges import AT_LEAST_1, check_ranges
from formats.spectrogram_axes import SpectrogramAxes
from lightning_modules.training_record import weights_report
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from metrics.spectrogram_units import WALK_MEASURES, walk_measures

SETTINGS = "generation.json"
GRID = "micro_doppler_grid.png"
SAMPLING = (
    "sampler",
    "num_steps",
    "time_shift",
    "guidance_scale",
    "guidance_interval_start",
    "guidance_interval_end",
    "guided_channels",
    "sample_seed",
)

SMALLEST = 64  # pixels of an image that can be measured
OWN_FOLDER = {"guidance_scale", "num_steps"}  # settings that may differ within a folder
REMEDY = "Choose another --data.output_dir, or move that folder away."


class SampleWriter(PredictionWriter):
    """Write ``micro_doppler_user01_001.png``, …, ``micro_doppler_grid.png``, ``generation.json`` and ``axes.json``.

    Each process writes its own samples; names contain user and number, so that none overwrites another's. Where the
    folder holds samples of another guidance scale or number of steps, these go to a folder of their own in it, such as
    ``guidance_4_steps_250``.

    Args:
        grid_columns: Maximum number of samples per user in the grid.
        num_threads: CPU threads of each process, see :class:`PredictionWriter`.
    """

    def __init__(self, grid_columns: int = 8, num_threads: int = 1) -> None:
        super().__init__(num_threads)
        check_ranges("SampleWriter", {"grid_columns": grid_columns}, {"grid_columns": AT_LEAST_1})
        self.output_dir, self.grid_columns = Path(), grid_columns

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the settings, or compare them with the record.

        Raises:
            InputError: The folder holds samples of another checkpoint or of other settings than the guidance scale and
                the number of steps.
        """
        if not isinstance(pl_module, UserConditionedDiTModule):
            fault = f"cannot write the predictions of {type(pl_module).__name__}"
            raise InputError("SampleWriter", fault, "Use configs/generate_microdoppler.yaml.")
        space = pl_module.require_latent_space()
        checkpoint = Path(trainer.ckpt_path).resolve() if trainer.ckpt_path else None
        settings: dict[str, Any] = {
            "checkpoint": str(checkpoint) if checkpoint else None,
            "checkpoint_bytes_and_time": [checkpoint.stat().st_size, checkpoint.stat().st_mtime]
            if checkpoint
            else None,
            **{name: pl_module.hparams[name] for name in SAMPLING},
            "latent_statistics": space.policy,
            "latent_multiplier": space.multiplier,
            "tokenizer": pl_module.hparams["tokenizer_path"] or space.tokenizer,
            "tokenizer_fingerprint": pl_module.tokenizer.fingerprint(),
        }
        self.output_dir = datamodule_of(trainer, SampleRequestDataModule).output_dir
        differing = _differences(self.output_dir, settings)
        if differing and differing <= OWN_FOLDER:
            name = f"guidance_{settings['guidance_scale']:g}_steps_{settings['num_steps']}"
            pl_module.print(f"{self.output_dir}: holds samples of other sampling; these go to {name} in it")
            self.output_dir /= name
            differing = _differences(self.output_dir, settings)
        if differing:
            fault = f"holds samples made with other settings: {', '.join(sorted(differing))} differ"
            raise InputError(self.output_dir, fault, REMEDY)
        trainer.strategy.barrier("compared")
        if trainer.is_global_zero:
            report = weights_report(pl_module)
            write_json(self.output_dir / SETTINGS, {**settings, **report})
            if "note" in report:
                pl_module.print(report["note"])
            if space.axes is not None:
                space.axes.write(self.output_dir)

    def write_on_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Any,
        batch: SampleRequestBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        pairs = zip(batch["user_ids"].tolist(), batch["indices"].tolist(), strict=True)
        for (user_id, index), image in zip(pairs, prediction.permute(0, 2, 3, 1).cpu().numpy(), strict=True):
            write_png(self.output_dir / sample_name(user_id, index), image)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw a grid of all samples in the folder once every process has written its own."""
        trainer.strategy.barrier("samples")
        if trainer.is_global_zero and not trainer.interrupted:
            assert isinstance(pl_module, UserConditionedDiTModule)
            samples, axes = self._samples(pl_module), pl_module.require_latent_space().axes
            rows = {f"user {user_id}": images for user_id, images in samples.items()}
            write_png(self.output_dir / GRID, spectrogram_sheet(rows, axes, height=192))
            pl_module.print(f"{self.output_dir}: samples of {len(rows)} users; grid in {self.output_dir / GRID}")
        trainer.strategy.barrier("grid")

    def _samples(self, module: UserConditionedDiTModule) -> dict[int, list[NDArray[np.uint8]]]:
        """Read the first images of each user who has any."""
        samples = {}
        for user_id in module.require_latent_space().user_ids.tolist():
            paths = sorted(self.output_dir.glob(sample_pattern(user_id)))[: self.grid_columns]
            if paths:
                samples[user_id] = [read_rgb(path) for path in paths]
        return samples

    def report_sections(self, trainer: Trainer, pl_module: LightningModule) -> list[Section]:
        """Show the samples of each user with their measures in the report of the run."""
        assert isinstance(pl_module, UserConditionedDiTModule)
        samples, axes = self._samples(pl_module), pl_module.require_latent_space().axes
        if not samples:
            return []
        rows = [SpectrogramRow(user, "generated", images) for user, images in samples.items()]
        text = "<p>Real images of the same users are shown next to generated ones by <code>test</code>.</p>\n"
        return [spectrograms_section("Generated spectrograms", rows, axes, _measures(samples, axes), text)]


def _measures(samples: Mapping[int, list[NDArray[np.uint8]]], axes: SpectrogramAxes | None) -> str:
    """Return a table of the median of each measure of a user's samples; "" without axes."""
    if axes is None or min(samples[next(iter(samples))][0].shape[:2]) < SMALLEST:
        return ""
    values: dict[str, dict[int, float]] = {}
    for user, images in samples.items():
        medians = walk_measures(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), axes).median(0).values
        for (label, unit), value in zip(WALK_MEASURES.values(), medians.tolist(), strict=True):
            values.setdefault(f"{label} ({unit})", {})[user] = value
    header, rows = values_by_user(values)
    return table(header, rows, "Median of the shown samples", range(1, len(header)))


def _differences(folder: Path, settings: Mapping[str, Any]) -> set[str]:
    """Return the names of settings that differ from those on record in a folder; none if it has no record."""
    path = folder / SETTINGS
    if not path.exists():
        return set()
    before = read_json_object(path, REMEDY)
    return {name for name in settings if before.get(name) != settings[name]}
