"""Latent extraction through the command line: the same bytes from any number of processes, and resumable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from cli import main
from datamodules.latents import LatentDataModule
from formats.errors import InputError
from formats.images import read_rgb, write_png
from formats.latent_shards import LatentStatistics, find_shards, open_shard
from formats.spectrogram_axes import SpectrogramAxes
from networks.tokenizers import load_tokenizer, to_unit
from tests.support.commands import SIDE, USERS, extraction_words, run_command, write_spectrograms
from tests.support.hub_cache import HubCache


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_latents_are_those_of_the_tokenizer(spectrograms: Path, latents: Path) -> None:
    tokenizer = load_tokenizer(latents / "tokenizer.safetensors")
    index = json.loads((latents / "index.json").read_text())
    for split, count in (("train", 30), ("val", 12)):
        (path,) = find_shards(latents, split)
        shard = open_shard(path)
        assert shard.latents.shape == (count, 52, 1, SIDE // 16)
        assert sorted(shard.labels.unique().tolist()) == list(USERS)
        assert len(index[split]["images"]) == count
    last = torch.from_numpy(read_rgb(spectrograms / index["val"]["images"][-1]).copy()).permute(2, 0, 1)[None]
    assert_close(shard.latents[-1:], tokenizer.encode(to_unit(last)).mean, rtol=1e-4, atol=1e-4)
    measured = LatentStatistics.read(latents / "latents_stats.pt")
    train = open_shard(find_shards(latents, "train")[0]).latents
    assert_close(measured.mean, train.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert SpectrogramAxes.read(latents) == SpectrogramAxes.read(spectrograms) == SpectrogramAxes(2.0, -1.0, 4.0)
    assert "recommended: dataset" in (latents / "stats_recommendation.txt").read_text()


def test_a_tokenizer_on_the_hub_is_recorded_by_its_name(
    spectrograms: Path, latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics published next to it are found on the hub too."""
    cache, name = HubCache(tmp_path / "hub", monkeypatch), "hf://owner/code/tokenizer.safetensors"
    for file in ("tokenizer.safetensors", "latents_stats.pt"):
        cache.add("owner/code", file, (latents / file).read_bytes())
    statistics = "--data.imagenet_statistics=hf://owner/code/latents_stats.pt"
    main(extraction_words(spectrograms, tmp_path / "out", f"--model.tokenizer_path={name}", statistics))
    assert json.loads((tmp_path / "out" / "extraction.json").read_text())["tokenizer"] == name
    assert (tmp_path / "out" / "latents_stats_imagenet.pt").is_file()
    data = LatentDataModule(str(tmp_path / "out"))
    data.prepare_data()
    data.setup("fit")
    assert data.latent_space.tokenizer == name
    train = [open_shard(find_shards(folder, "train")[0]).latents for folder in (latents, tmp_path / "out")]
    assert torch.equal(*train)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(spectrograms: Path, tmp_path: Path, two_threads: None) -> None:
    """Each command fits its own tokenizer, and draws from the posterior."""
    more = ["--data.shard_size=8", "--model.posterior=sample"]
    main(extraction_words(spectrograms, tmp_path / "one", *more))
    processes = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    done = run_command(*extraction_words(spectrograms, tmp_path / "two", *more, *processes))
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path / "one")) == 4 + 2 + 1
    assert files(tmp_path / "one") == files(tmp_path / "two")
    for name in ("index.json", "stats_recommendation.txt", "extraction.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, two = (LatentStatistics.read(tmp_path / name / "latents_stats.pt") for name in ("one", "two"))
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.std, two.std)


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_threads(
    spectrograms: Path, latents: Path, tmp_path: Path, two_threads: None
) -> None:
    """``latents`` was made by a process with one thread."""
    main(extraction_words(spectrograms, tmp_path))
    assert files(tmp_path) == files(latents)
    assert torch.get_num_threads() == 2  # as before the command


@pytest.mark.slow
def test_a_repeated_extraction_makes_missing_shards_only(spectrograms: Path, tmp_path: Path) -> None:
    words = extraction_words(spectrograms, tmp_path, "--data.shard_size=8", "--model.flip=true")
    main(words)
    before = files(tmp_path)
    lost = tmp_path / "train-00002-of-00004.safetensors"
    lost.unlink()
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    main(words)
    assert files(tmp_path) == before
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in times.items())
    shard = open_shard(lost)
    assert shard.latents_flip is not None
    assert shard.latents_flip.shape == shard.latents.shape


@pytest.mark.slow
def test_other_settings_or_images_are_refused(tmp_path: Path) -> None:
    data = write_spectrograms(tmp_path / "images", train=12, val=1)
    main(extraction_words(data, tmp_path / "out"))
    before = files(tmp_path / "out")
    with pytest.raises(InputError, match=r"posterior.*differ"):
        main(extraction_words(data, tmp_path / "out", "--model.posterior=sample"))
    write_png(data / "val" / "ID_5" / "new.png", torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8).numpy())
    with pytest.raises(InputError, match=r"splits, files_digest differ"):
        main(extraction_words(data, tmp_path / "out"))
    assert files(tmp_path / "out") == before


@pytest.mark.slow
def test_imagenet_statistics_are_compared_and_kept(spectrograms: Path, latents: Path, tmp_path: Path) -> None:
    imagenet = LatentStatistics.read(latents / "latents_stats.pt")
    imagenet.write(tmp_path / "imagenet.pt")
    more = [f"--data.imagenet_statistics={tmp_path}/imagenet.pt"]
    main(extraction_words(spectrograms, tmp_path / "out", *more))
    assert_close(LatentStatistics.read(tmp_path / "out" / "latents_stats_imagenet.pt"), imagenet)
    assert "recommended: imagenet" in (tmp_path / "out" / "stats_recommendation.txt").read_text()


def test_imagenet_statistics_are_found_next_to_a_tokenizer(spectrograms: Path, latents: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    published.mkdir()
    shutil.copy(latents / "tokenizer.safetensors", published / "tokenizer.safetensors")
    shutil.copy(latents / "latents_stats.pt", published / "latents_stats.pt")
    main(extraction_words(spectrograms, tmp_path / "out", f"--vavae_path={published}/tokenizer.safetensors"))
    text = (tmp_path / "out" / "stats_recommendation.txt").read_text()
    assert text.startswith(f"recommended: imagenet\ndata set: {spectrograms}, 52 channels\n")
    assert f"ImageNet's statistics: {published}/latents_stats.pt" in text
    assert (tmp_path / "out" / "latents_stats_imagenet.pt").is_file()


@pytest.mark.slow
def test_statistics_missing_after_an_interruption_are_written(spectrograms: Path, tmp_path: Path) -> None:
    words = extraction_words(spectrograms, tmp_path)
    main(words)
    before = (tmp_path / "latents_stats.pt").read_bytes()
    (tmp_path / "latents_stats.pt").unlink()
    main(words)
    assert (tmp_path / "latents_stats.pt").read_bytes() == before
