"""Statistics of a folder of latents: measured, compared with ImageNet's, and recommended."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from formats.errors import InputError
from formats.latent_shards import LatentStatistics, write_shard
from formats.latent_statistics import (
    published_statistics,
    read_or_measure,
    recommend_statistics,
    recommended,
    write_statistics,
)

OWN = LatentStatistics(torch.zeros(4), torch.ones(4))


def constant(mean: float, std: float = 1.0, channels: int = 4) -> LatentStatistics:
    return LatentStatistics(torch.full((channels,), float(mean)), torch.full((channels,), float(std)))


def write_latents(folder: Path) -> torch.Tensor:
    """Write two shards of latents with mean 2 and return them."""
    latents = torch.randn(30, 4, 2, 2, generator=torch.Generator().manual_seed(0)) + 2
    for number, part in enumerate(latents.split(20), 1):
        write_shard(folder / f"train-{number:05d}-of-00002.safetensors", part, torch.ones(len(part)))
    return latents


def test_recommendation() -> None:
    assert recommend_statistics(OWN, constant(0.4, 1.4))[0] == "imagenet"
    assert recommend_statistics(OWN, constant(0.6))[0] == "dataset"
    assert recommend_statistics(OWN, constant(0, 1.6))[0] == "dataset"
    assert recommend_statistics(OWN, None)[0] == "dataset"


def test_the_text_names_data_differences_and_reason() -> None:
    _, text = recommend_statistics(OWN, constant(0.4, 1.7), "walkers", Path("vavae/latents_stats.pt"))
    assert text.splitlines() == [
        "recommended: dataset",
        "data set: walkers, 4 channels",
        "ImageNet's statistics: vavae/latents_stats.pt",
        "difference of mean, averaged over channels: 0.4000",
        "difference of std, averaged over channels: 0.7000",
        "reason: the difference of std is over 0.5; normalised with ImageNet's, these latents would be far from mean 0 "
        "and std 1.",
    ]
    assert "difference of mean and of std is over" in recommend_statistics(OWN, constant(1, 3))[1]
    assert "both differences are at most 0.5" in recommend_statistics(OWN, constant(0.1))[1]
    assert "no ImageNet statistics" in recommend_statistics(OWN, None)[1]


def test_statistics_are_measured_and_written(tmp_path: Path) -> None:
    latents = write_latents(tmp_path)
    measured = read_or_measure(tmp_path, 4)
    assert_close(measured.mean, latents.mean((0, 2, 3)))
    assert write_statistics(tmp_path, "walkers") == "dataset"
    assert_close(LatentStatistics.read(tmp_path / "latents_stats.pt", 4).mean, measured.mean)
    constant(7).write(tmp_path / "latents_stats.pt")
    assert_close(read_or_measure(tmp_path, 4).mean, torch.full((4,), 7.0))  # a file that exists counts


def test_the_recommendation_on_file_is_followed(tmp_path: Path) -> None:
    write_latents(tmp_path)
    assert recommended(tmp_path, 4) == "dataset"
    constant(2.1).write(tmp_path / "latents_stats_imagenet.pt")
    assert recommended(tmp_path, 4) == "imagenet"
    (tmp_path / "stats_recommendation.txt").write_text("recommended: dataset\n")
    assert recommended(tmp_path, 4) == "dataset"
    assert write_statistics(tmp_path, "walkers") == "imagenet"  # compared with those in the folder
    assert recommended(tmp_path, 4) == "imagenet"
    for text in ("", "dataset?", "recommended: both\n"):
        (tmp_path / "stats_recommendation.txt").write_text(text)
        with pytest.raises(InputError, match=r"stats_recommendation\.txt: begins with .* prepare latent-statistics"):
            recommended(tmp_path, 4)


def test_published_statistics_are_found_next_to_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = tmp_path / "vavae.pt"
    assert published_statistics(tokenizer, 4) is None
    constant(0, channels=3).write(tmp_path / "latents_stats_imagenet.pt")
    constant(0).write(tmp_path / "latents_stats.pt")
    assert published_statistics(tokenizer, 4) == tmp_path / "latents_stats.pt"
    assert published_statistics(tokenizer, 3) == tmp_path / "latents_stats_imagenet.pt"
    assert published_statistics(tokenizer, 5) is None
    assert published_statistics(tmp_path, 4) == tmp_path / "latents_stats.pt"  # a folder of diffusers
    (tmp_path / "extraction.json").write_text("{}")  # latents, with their own statistics
    assert published_statistics(tokenizer, 4) is None
