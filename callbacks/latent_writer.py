"""Writes latents in shards while they are predicted, and their statistics at the end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from batches.microdoppler import ExtractionBatch
from datamodules.spectrograms import SpectrogramDataModule
from formats.atomic import write_json, write_text
from formats.errors import InputError
from formats.latent_shards import (
    EXTRACTION,
    IMAGENET_STATISTICS,
    RECOMMENDATION,
    STATISTICS,
    Extraction,
    LatentStatistics,
    find_shards,
    open_shard,
    recommend_statistics,
    write_shard,
)
from lightning_modules.latent_extraction import LatentExtractionModule


class LatentShardWriter(BasePredictionWriter):
    """Write each shard when its last batch is there; hold no more than one shard in memory.

    Beside the shards: ``extraction.json`` (how they were made; a repeated run must agree with it), ``index.json``
    (every image in order), ``latents_stats.pt``, ``latents_stats_imagenet.pt`` where given, and
    ``stats_recommendation.txt``.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self.parts: dict[str, list[Tensor]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record the settings, or compare with those on record; also where no shard is left to make.

        Raises:
            InputError: The folder holds latents made with other settings.
        """
        super().setup(trainer, pl_module, stage)
        data, module = _extraction_parts(trainer, pl_module)
        module.load_tokenizer(data)
        assert module.tokenizer is not None
        assert module.tokenizer_path is not None
        if data.imagenet_statistics is not None:
            LatentStatistics.read(data.imagenet_statistics, module.tokenizer.latent_channels)
        path, folder = Path(module.tokenizer_path).resolve(), data.output_dir.resolve()
        settings = Extraction(
            images_dir=str(data.data_dir.resolve()),
            tokenizer=path.name if path.parent == folder else str(path),
            tokenizer_fingerprint=module.tokenizer.fingerprint(),
            posterior=module.posterior,
            seed=module.seed,
            flip=module.flip,
            shard_size=data.shard_size,
            image_size=data.image_size,
            splits={split: len(dataset) for split, dataset in data.datasets.items()},
            files_digest=data.digest(),
        )
        before = Extraction.read(folder)
        if before is not None:
            # Where images and tokenizer lie may change; what they are may not.
            old, new = asdict(before), asdict(settings)
            moved = ("images_dir", "tokenizer")
            differing = [key for key in new if key not in moved and old[key] != new[key]]
            if differing:
                fault = f"holds latents made otherwise: {', '.join(differing)} differ"
                raise InputError(folder, fault, "Choose another --data.output_dir, or the settings on record.")
        trainer.strategy.barrier("compared")
        if trainer.is_global_zero:
            write_json(folder / EXTRACTION, asdict(settings))

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
            whole = {name: torch.cat(parts) for name, parts in self.parts.items()}
            path = data.output_dir / batch["shard"]
            write_shard(path, whole["latents"], whole["user_ids"], whole.get("latents_flip"))
            self.parts.clear()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """When every process has ended well, write index, statistics and recommendation."""
        data, _ = _extraction_parts(trainer, pl_module)
        trainer.strategy.barrier("shards")
        if trainer.is_global_zero and not trainer.interrupted:
            for split in data.splits:
                find_shards(data.output_dir, split)  # raises where one is missing
            index = {split: {"shards": data.shards(split), "images": data.names(split)} for split in data.splits}
            write_json(data.output_dir / "index.json", index)
            choice = self._write_statistics(data)
            counts = ", ".join(f"{len(data.datasets[split])} {split}" for split in data.splits)
            pl_module.print(f"{data.output_dir}: {counts} latents; recommended statistics: {choice}")
        trainer.strategy.barrier("statistics")

    def _write_statistics(self, data: SpectrogramDataModule) -> str:
        train = find_shards(data.output_dir, data.splits[0])
        own = LatentStatistics.measure([open_shard(path) for path in train])
        imagenet = None
        if data.imagenet_statistics is not None:
            imagenet = LatentStatistics.read(data.imagenet_statistics, len(own.mean))
            imagenet.write(data.output_dir / IMAGENET_STATISTICS)
        choice, text = recommend_statistics(own, imagenet)
        write_text(data.output_dir / RECOMMENDATION, text)
        own.write(data.output_dir / STATISTICS)
        return choice


def _extraction_parts(
    trainer: Trainer, module: LightningModule
) -> tuple[SpectrogramDataModule, LatentExtractionModule]:
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, SpectrogramDataModule) or not isinstance(module, LatentExtractionModule):
        fault = "works with SpectrogramDataModule and LatentExtractionModule"
        raise InputError("LatentShardWriter", fault, "Use configs/microdoppler_extract_latents.yaml.")
    return data, module
