"""Latents come out of mapped shards as whole batches, with classes, statistics and weights as documented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from datamodules.latents import LatentDataModule, StatisticsPolicy
from formats.errors import InputError
from formats.latent_shards import LatentStatistics, find_shards, open_shard, shard_names, write_shard
from formats.latent_space import LatentSpace

SHAPE = (3, 2, 2)


def write_folder(folder: Path, users: tuple[int, ...] = (1, 2, 5), val_users: tuple[int, ...] = (2, 5)) -> Path:
    """Three training shards and one for validation; latent i holds the number i."""
    labels = torch.tensor(users).repeat_interleave(4)
    numbers = torch.arange(len(labels)).float().view(-1, 1, 1, 1).expand(-1, *SHAPE)
    for name, rows in zip(shard_names("train", 3), torch.arange(len(labels)).split(5), strict=True):
        write_shard(folder / name, numbers[rows], labels[rows])
    write_shard(folder / "val.safetensors", torch.zeros(len(val_users), *SHAPE), torch.tensor(val_users))
    LatentStatistics(torch.arange(3.0), torch.ones(3)).write(folder / "latents_stats.pt")
    return folder


def ready(folder: Path, **arguments: Any) -> LatentDataModule:
    data = LatentDataModule(str(folder), **arguments)
    data.setup("fit")
    return data


def test_batches_across_shards(tmp_path: Path) -> None:
    dataset = ready(write_folder(tmp_path)).datasets["train"]
    batch = dataset.__getitems__([11, 0, 5, 4, -1])
    assert batch["latents"][:, 0, 0, 0].tolist() == [11, 0, 5, 4, 0]
    assert batch["latents"].shape == (5, *SHAPE)
    assert batch["classes"].tolist() == [2, 0, 1, 1, 0]
    assert batch["indices"].tolist() == [11, 0, 5, 4, 0]
    assert batch["weights"].tolist() == [1, 1, 1, 1, 0]


def test_users_with_gaps_become_classes(tmp_path: Path) -> None:
    space = ready(write_folder(tmp_path)).latent_space
    assert space.user_ids.tolist() == [1, 2, 5]
    assert space.classes(torch.tensor([5, 1, 2, 5])).tolist() == [2, 0, 1, 2]
    with pytest.raises(InputError, match=r"user 3, 9: is not among.*1, 2, 5"):
        space.classes(torch.tensor([3, 1, 9]))


def test_normalising_is_undone_exactly(tmp_path: Path) -> None:
    space = ready(write_folder(tmp_path), multiplier=0.5).latent_space
    latents = torch.randn(4, *SHAPE)
    assert_close(space.normalise(latents), (latents - torch.arange(3.0).view(3, 1, 1)) * 0.5)
    assert_close(space.denormalise(space.normalise(latents)), latents)


@pytest.mark.parametrize(
    ("policy", "imagenet_mean", "chosen"),
    [("auto", 0.2, "imagenet"), ("auto", 0.9, "dataset"), ("dataset", 0.2, "dataset"), ("imagenet", 0.9, "imagenet")],
)
def test_statistics_policy(tmp_path: Path, policy: StatisticsPolicy, imagenet_mean: float, chosen: str) -> None:
    imagenet = LatentStatistics(torch.arange(3.0) + imagenet_mean, torch.ones(3))
    imagenet.write(write_folder(tmp_path) / "latents_stats_imagenet.pt")
    space = ready(tmp_path, statistics=policy).latent_space
    assert space.policy == chosen
    assert_close(space.statistics.mean, torch.arange(3.0) + (imagenet_mean if chosen == "imagenet" else 0))


def test_missing_statistics_are_measured_and_written(tmp_path: Path) -> None:
    stored = write_folder(tmp_path) / "latents_stats.pt"
    stored.unlink()
    datamodule = LatentDataModule(str(tmp_path), batch_size=4)
    datamodule.prepare_data()
    measured = LatentStatistics.read(stored, 3)
    latents = torch.cat([open_shard(path).latents for path in find_shards(tmp_path, "train")])
    assert_close(measured.mean, latents.mean((0, 2, 3)))
    stored.unlink()
    datamodule.setup("fit")  # in a folder that cannot be written, each process measures
    assert_close(datamodule.latent_space.statistics.mean, measured.mean)
    assert not stored.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_folder(tmp_path) / "latents_stats.pt").unlink()

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(LatentStatistics, "write", refuse)
    datamodule = LatentDataModule(str(tmp_path))
    datamodule.prepare_data()
    datamodule.setup("fit")
    assert datamodule.latent_space.policy == "dataset"


def test_latents_without_normalisation(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "latents_stats.pt").unlink()
    space = ready(tmp_path, statistics="none").latent_space
    latents = torch.randn(4, *SHAPE)
    assert torch.equal(space.normalise(latents), latents)
    stored = LatentSpace.from_checkpoint(space.to_checkpoint())  # generation decodes with these
    assert stored.policy == "none"
    assert torch.equal(stored.denormalise(latents), latents)
    assert not (tmp_path / "latents_stats.pt").exists()


def test_imagenet_statistics_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"latents_stats_imagenet\.pt"):
        ready(write_folder(tmp_path), statistics="imagenet")


def test_unknown_validation_users_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"val\.safetensors.*\[7\]"):
        ready(write_folder(tmp_path, val_users=(2, 7)))


def test_flip_needs_flipped_latents(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="latents_flip"):
        ready(write_folder(tmp_path), flip=True)


def test_published_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        latents = torch.randn(4, *SHAPE)
        content = {"latents": latents, "latents_flip": latents + 1, "labels": torch.arange(4) * 3}
        (tmp_path / split).mkdir()
        save_file(content, tmp_path / split / "latents_rank00_shard000.safetensors")
    LatentStatistics(torch.zeros(3), torch.ones(3)).write(tmp_path / "latents_stats.pt")
    data = ready(tmp_path, flip=True)
    batch = data.datasets["train"].__getitems__([3, 1])
    assert_close(batch["latents_flip"], batch["latents"] + 1)
    assert batch["classes"].tolist() == [3, 1]
    assert data.latent_space.tokenizer == ""
    with pytest.raises(InputError, match=r"--data\.images_dir"):
        data.test_dataloader()


def test_shards_of_other_shapes_are_refused(tmp_path: Path) -> None:
    write_shard(write_folder(tmp_path) / "val.safetensors", torch.zeros(2, 4, 2, 2), torch.tensor([1, 2]))
    with pytest.raises(InputError, match=r"val\.safetensors.*\(4, 2, 2\)"):
        ready(tmp_path)
