"""Statistics of a folder of latents that has none, such as a published one."""

from __future__ import annotations

from pathlib import Path

from formats.latent_shards import ExtractionRecord, find_shards, open_shard
from formats.latent_statistics import published_statistics, write_statistics


def latent_statistics(
    latent_dir: Path, imagenet_statistics: Path | None = None, vavae_path: Path | None = None
) -> None:
    """Write latents_stats.pt and stats_recommendation.txt for a folder of latents.

    Args:
        latent_dir: Folder with train*.safetensors, or with shards in a folder train.
        imagenet_statistics: Latent statistics published with the tokenizer, to compare with.
        vavae_path: The tokenizer's file, next to which they are looked for; by default the one on record.
    """
    record = ExtractionRecord.read(latent_dir)
    if imagenet_statistics is None and vavae_path is None and record is not None:
        vavae_path = (latent_dir / record.tokenizer).resolve()
    if imagenet_statistics is None and vavae_path is not None:
        channels = open_shard(find_shards(latent_dir, "train")[0]).latents.shape[1]
        imagenet_statistics = published_statistics(vavae_path, channels)
    name = record.images_dir if record else str(latent_dir.resolve())
    choice = write_statistics(latent_dir, name, imagenet_statistics)
    print(f"{latent_dir}: statistics are written; recommended: {choice}")
