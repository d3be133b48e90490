"""Writes latents in shards while they are predicted, with their statistics at the end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from batches.microdoppler import ExtractionBatch
from batches.trainer import datamodule_of
from callbacks.prediction_writer import PredictionWriter
from datamodules.spectrograms import SpectrogramDataModule
from formats.atomic import write_json
from formats.errors import InputError
from formats.hub_files import is_hub_name, local_file
from formats.latent_shards import (
    EXTRACTION,
    TOKENIZER,
    ExtractionRecord,
    LatentStatistics,
    find_shards,
    write_shard,
)
from formats.latent_statistics import published_statistics, write_statistics
from formats.ranges import Range, check_ranges
from formats.spectrogram_axes import SpectrogramAxes
from lightning_modules.latent_extraction import LatentExtractionModule
from networks.tokenizers import LappedPCA, tokenizer_location
from networks.tokenizers.lapped_pca import LATENT_CHANNELS

IMAGES_TO_FIT = 512  # evenly spread over the users; more change a linear code little


class LatentShardWriter(PredictionWriter):
    """Write each shard when its last batch is complete, holding at most one shard in memory.

    Next to the shards it writes ``extraction.json`` (how they were made; a repeated run must agree with it),
    ``index.json`` (every image in order), ``latents_stats.pt``, ``latents_stats_imagenet.pt`` if ImageNet's are given
    or next to a published tokenizer, ``stats_recommendation.txt``, ``axes.json`` if the images have one, and
    ``tokenizer.safetensors`` if the module names no tokenizer.

    Args:
        latent_channels: Latent channels of the LappedPCA that is fitted if the module names no tokenizer, at least 5.
        num_threads: CPU threads of each process, see :class:`PredictionWriter`.
    """

    def __init__(self, latent_channels: int = LATENT_CHANNELS, num_threads: int = 1) -> None:
        super().__init__(num_threads)
        check_ranges("LatentShardWriter", {"latent_channels": latent_channels}, {"latent_channels": Range(5)})
        self.latent_channels = latent_channels
        self.parts: dict[str, list[Tensor]] = {}
        self.imagenet_statistics: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Provide the tokenizer, then record the settings or compare them with the record, even if no batch is left.

        Raises:
            InputError: The folder holds latents made with other settings, or the tokenizer cannot be used.
        """
        super().setup(trainer, pl_module, stage)
        data, module = _extraction_parts(trainer, pl_module)
        if module.tokenizer_path is None:
            module.tokenizer_path = str(self._fitted_tokenizer(trainer, data))
        tokenizer = module.load_tokenizer()
        tokenizer.latent_shape(data.image_size, data.image_size)  # raises if the sides are not multiples
        if data.imagenet_statistics is not None:
            self.imagenet_statistics = local_file(data.imagenet_statistics)
            LatentStatistics.read(self.imagenet_statistics, tokenizer.latent_channels)
        else:
            path = tokenizer_location(module.tokenizer_path)
            self.imagenet_statistics = published_statistics(path, tokenizer.latent_channels)
        folder = data.output_dir.resolve()
        settings = ExtractionRecord(
            images_dir=str(data.data_dir.resolve()),
            tokenizer=_recorded_name(module.tokenizer_path, folder),
            tokenizer_fingerprint=tokenizer.fingerprint(),
            posterior=module.posterior,
            seed=module.seed,
            flip=module.flip,
            shard_size=data.shard_size,
            image_size=data.image_size,
            splits={split: len(dataset) for split, dataset in data.datasets.items()},
            files_digest=data.digest(),
            resize="pad" if data.resize == "pad" else "squeeze",
            train_share=data.train_share,
        )
        record, axes = ExtractionRecord.read(folder), SpectrogramAxes.read(data.data_dir)
        if record is not None:
            # Images and tokenizer may have moved, but must have the same content.
            old, new = asdict(record), asdict(settings)
            differing = [key for key in new if key not in ("images_dir", "tokenizer") and old[key] != new[key]]
            if differing:
                fault = f"holds latents made with other settings: {', '.join(differing)} differ"
                raise InputError(folder, fault, "Choose another --data.output_dir, or the settings on record.")
        trainer.strategy.barrier("compared")
        if trainer.is_global_zero:
            write_json(folder / EXTRACTION, asdict(settings))
            if axes is not None:
                axes.write(folder)

    def _fitted_tokenizer(self, trainer: Trainer, data: SpectrogramDataModule) -> Path:
        """Fit LappedPCA to the training images, on the first process unless its file exists, and return that file."""
        path = data.output_dir / TOKENIZER
        if trainer.is_global_zero and not path.is_file():
            LappedPCA.fit(data.training_images(IMAGES_TO_FIT), self.latent_channels).save(path)
        trainer.strategy.barrier("tokenizer")
        return path

    def write_on_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Any,
        batch: ExtractionBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        data, _ = _extraction_parts(trainer, pl_module)
        for name, tensor in (*prediction.items(), ("user_ids", batch["user_ids"])):
            self.parts.setdefault(name, []).append(tensor.cpu())
        if sum(map(len, self.parts["user_ids"])) == batch["shard_size"]:
            shard = {name: torch.cat(parts) for name, parts in self.parts.items()}
            path = data.output_dir / batch["shard"]
            write_shard(path, shard["latents"], shard["user_ids"], shard.get("latents_flip"))
            self.parts.clear()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write index, statistics and recommendation once every process has finished without error."""
        data, _ = _extraction_parts(trainer, pl_module)
        trainer.strategy.barrier("shards")
        if trainer.is_global_zero and not trainer.interrupted:
            for split in data.splits:
                find_shards(data.output_dir, split)  # raises if one is missing
            index = {split: {"shards": data.shards(split), "images": data.names(split)} for split in data.splits}
            write_json(data.output_dir / "index.json", index)
            choice = write_statistics(
                data.output_dir, str(data.data_dir.resolve()), self.imagenet_statistics, data.splits[0]
            )
            counts = ", ".join(f"{len(data.datasets[split])} {split}" for split in data.splits)
            pl_module.print(f"{data.output_dir}: {counts} latents; recommended statistics: {choice}")
        trainer.strategy.barrier("statistics")
        super().teardown(trainer, pl_module, stage)


def _recorded_name(tokenizer: str, folder: Path) -> str:
    """Return the name of a tokenizer in the record of a folder of latents."""
    if is_hub_name(tokenizer):
        return tokenizer
    path = Path(tokenizer).resolve()
    return path.name if path.parent == folder else str(path)


def _extraction_parts(
    trainer: Trainer, module: LightningModule
) -> tuple[SpectrogramDataModule, LatentExtractionModule]:
    if not isinstance(module, LatentExtractionModule):
        fault = f"cannot write the predictions of {type(module).__name__}"
        raise InputError("LatentShardWriter", fault, "Use configs/microdoppler_extract_latents.yaml.")
    return datamodule_of(trainer, SpectrogramDataModule), module
