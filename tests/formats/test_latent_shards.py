from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from formats.errors import InputError
from formats.latent_shards import (
    ExtractionRecord,
    LatentStatistics,
    find_shards,
    open_shard,
    shard_names,
    write_shard,
)


def test_shard_has_the_keys_of_the_task(tmp_path: Path) -> None:
    latents, users = torch.randn(5, 3, 2, 4), torch.tensor([1, 1, 4, 9, 9])
    write_shard(tmp_path / "train.safetensors", latents, users)
    content = load_file(tmp_path / "train.safetensors")
    numbers = {key: int(value) for key, value in content.items() if key not in ("latents", "user_ids")}
    assert numbers == {
        "num_samples": 5,
        "num_users": 3,
        "latent_shape_h": 2,
        "latent_shape_w": 4,
        "latent_channels": 3,
    }
    shard = open_shard(tmp_path / "train.safetensors")
    assert torch.equal(shard.latents, latents)
    assert torch.equal(shard.labels, users)
    assert shard.latents_flip is None


def test_published_keys_are_read(tmp_path: Path) -> None:
    latents = torch.randn(4, 3, 2, 2).half()
    content = {"latents": latents, "latents_flip": latents.flip(-1).contiguous(), "labels": torch.arange(4).int()}
    save_file(content, tmp_path / "x.safetensors")
    shard = open_shard(tmp_path / "x.safetensors")
    assert torch.equal(shard.latents, latents)
    assert shard.latents_flip is not None
    assert torch.equal(shard.latents_flip, latents.flip(-1))
    assert shard.labels.tolist() == [0, 1, 2, 3]


def test_broken_shards_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    with pytest.raises(InputError, match="no such file"):
        open_shard(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"train\.safetensors.*cannot be read"):
        open_shard(path)
    save_file({"latents": torch.zeros(2, 3, 4, 4)}, path)
    with pytest.raises(InputError, match="labels"):
        open_shard(path)
    save_file({"latents": torch.zeros(2, 3, 4, 4), "labels": torch.zeros(3, dtype=torch.int64)}, path)
    with pytest.raises(InputError, match="3 labels"):
        open_shard(path)
    write_shard(path, torch.randn(9, 3, 4, 4), torch.ones(9))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        open_shard(path)


def test_finding_shards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prepare microdoppler-sample.*extract_latents\.yaml"):
        find_shards(tmp_path, "train")
    for name in shard_names("train", 3):
        write_shard(tmp_path / name, torch.zeros(1, 1, 1, 1), torch.ones(1))
    assert [path.name for path in find_shards(tmp_path, "train")] == shard_names("train", 3)
    (tmp_path / shard_names("train", 3)[1]).unlink()
    with pytest.raises(InputError, match="2 of 3 train shards"):
        find_shards(tmp_path, "train")
    write_shard(tmp_path / "train.safetensors", torch.zeros(1, 1, 1, 1), torch.ones(1))
    with pytest.raises(InputError, match="both"):
        find_shards(tmp_path, "train")
    write_shard(tmp_path / "val" / "latents_rank00_shard000.safetensors", torch.zeros(1, 1, 1, 1), torch.ones(1))
    assert [path.name for path in find_shards(tmp_path, "val")] == ["latents_rank00_shard000.safetensors"]


def test_statistics_are_those_of_all_shards_at_once(tmp_path: Path) -> None:
    latents = torch.randn(50, 4, 3, 3, dtype=torch.float64) * torch.tensor([1, 5, 0.1, 2]).view(-1, 1, 1) + 1000
    shards = []
    for number, part in enumerate(latents.float().split(20)):
        write_shard(tmp_path / f"{number}.safetensors", part, torch.ones(len(part)))
        shards.append(open_shard(tmp_path / f"{number}.safetensors"))
    measured = LatentStatistics.measure(shards)
    assert_close(measured.mean, latents.float().double().mean((0, 2, 3)).float())
    assert_close(measured.std, latents.float().double().std((0, 2, 3), correction=0).float(), rtol=1e-5, atol=0)
    measured.write(tmp_path / "s.pt")
    content = torch.load(tmp_path / "s.pt", weights_only=True)
    assert content["mean"].shape == content["std"].shape == (1, 4, 1, 1)
    assert_close(vars(LatentStatistics.read(tmp_path / "s.pt", 4)), vars(measured))
    with pytest.raises(InputError, match="4 channels, but the latents have 5"):
        LatentStatistics.read(tmp_path / "s.pt", 5)


@pytest.mark.parametrize("content", [{"mean": torch.zeros(2)}, {"mean": torch.zeros(2), "std": torch.zeros(2)}, [1]])
def test_broken_statistics_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "s.pt")
    with pytest.raises(InputError, match=r"s\.pt"):
        LatentStatistics.read(tmp_path / "s.pt")


def test_broken_extraction_record(tmp_path: Path) -> None:
    assert ExtractionRecord.read(tmp_path) is None
    (tmp_path / "extraction.json").write_text('{"seed": 0}')
    with pytest.raises(InputError, match=r"extraction\.json"):
        ExtractionRecord.read(tmp_path)
