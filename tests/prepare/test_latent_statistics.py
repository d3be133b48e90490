"""Statistics of a folder of latents that has none."""

from pathlib import Path

import pytest
import torch

from cli import main
from formats.latent_shards import LatentStatistics, write_shard


def test_statistics_of_a_published_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latents = torch.randn(20, 4, 2, 2, generator=torch.Generator().manual_seed(0)) * 3
    write_shard(tmp_path / "latents" / "train" / "a.safetensors", latents, torch.ones(20))
    main(["prepare", "latent-statistics", "--latent_dir=latents"])
    assert capsys.readouterr().out == "latents: statistics are written; recommended: dataset\n"
    own = LatentStatistics.read(tmp_path / "latents" / "latents_stats.pt", 4)
    torch.testing.assert_close(own.std, latents.std((0, 2, 3), correction=0))
    text = (tmp_path / "latents" / "stats_recommendation.txt").read_text()
    assert text.splitlines()[1] == f"data set: {tmp_path / 'latents'}, 4 channels"
    published = LatentStatistics(torch.zeros(4), torch.full((4,), 3.1))
    (tmp_path / "vavae").mkdir()
    published.write(tmp_path / "vavae" / "latents_stats.pt")
    main(["prepare", "latent-statistics", "--latent_dir=latents", "--vavae_path=vavae/vavae.pt"])
    assert "recommended: imagenet" in capsys.readouterr().out
    stored = LatentStatistics.read(tmp_path / "latents" / "latents_stats_imagenet.pt", 4)
    assert torch.equal(stored.std, published.std)


def test_the_tokenizer_on_record_is_not_taken_for_a_published_one(
    latents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (latents / "stats_recommendation.txt").read_text()
    main(["prepare", "latent-statistics", f"--latent_dir={latents}"])
    assert "recommended: dataset" in capsys.readouterr().out
    assert (latents / "stats_recommendation.txt").read_text() == before
    assert not (latents / "latents_stats_imagenet.pt").exists()
