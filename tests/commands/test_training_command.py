"""Training through the command line: contents of a checkpoint, and interrupted runs that end the same."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from cli import main
from exporters.visualization.spectrogram_sheet import spectrogram_sheet
from formats.errors import InputError
from formats.images import read_rgb
from formats.latent_shards import LatentStatistics
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command, training_words


def values(folder: Path, name: str) -> list[float]:
    """The values of a metric that a run logged."""
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_checkpoint_holds_users_statistics_and_tokenizer(trained: Path, latents: Path) -> None:
    content = load_checkpoint(trained)["latent_space"]
    assert content["user_ids"].tolist() == [1, 2, 5]
    assert content["policy"] == "dataset"
    assert content["tokenizer"] == str(latents / "tokenizer.safetensors")
    expected = torch.load(latents / "latents_stats.pt", weights_only=True)
    assert_close(content["mean"], expected["mean"].flatten())
    assert_close(content["std"], expected["std"].flatten())


def test_run_folder(trained: Path) -> None:
    run = trained.parents[1]
    assert (run / "config.yaml").is_file()
    assert {path.name for path in trained.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(values(run, "val/loss")) == 2
    assert values(run, "train/loss_epoch")


@pytest.mark.slow
@pytest.mark.parametrize("steps", [6, 5], ids=["after an epoch", "within an epoch"])
def test_resumed_training_ends_with_the_same_weights(
    latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Three steps make an epoch."""

    def train(folder: str, *more: str) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        main(training_words(latents, "--trainer.max_epochs=4", *more))
        return tmp_path / folder / "runs" / "dit_microdoppler"

    whole = train("whole")
    cut = interrupted(lambda *more: train("part", *more), steps)
    resumed = train("part", f"--ckpt_path={cut}")
    first = load_checkpoint(whole / "version_0" / "checkpoints" / "last.ckpt")
    second = load_checkpoint(resumed / "version_1" / "checkpoints" / "last.ckpt")
    assert first["global_step"] == second["global_step"] == 12
    for group in ("state_dict", "current_model_state"):
        for name, tensor in first[group].items():
            assert torch.equal(tensor, second[group][name]), name
    assert values(whole / "version_0", "val/loss")[-1] == values(resumed / "version_1", "val/loss")[-1]


def validated(latents: Path, *more: str) -> float:
    """The val/loss of a validation, as logged."""
    folder = Path(f"validation{len(list(Path.cwd().iterdir()))}").resolve()
    logger = f"{{class_path: CSVLogger, init_args: {{save_dir: {folder}}}}}"
    main(training_words(latents, *more, f"--trainer.logger={logger}", command="validate"))
    return values(next(folder.rglob("metrics.csv")).parent, "val/loss")[-1]


def test_validation_is_repeatable_and_printed(trained: Path, latents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [validated(latents, f"--ckpt_path={trained}") for _ in range(2)]
    assert losses[0] == losses[1]
    assert "val/loss" in capsys.readouterr().out


def test_validation_does_not_depend_on_the_batch_size(trained: Path, latents: Path) -> None:
    losses = [validated(latents, f"--ckpt_path={trained}", f"--data.batch_size={size}") for size in (12, 5)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_validation_does_not_depend_on_the_number_of_processes(trained: Path, latents: Path) -> None:
    processes = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.logger=false"]
    done = run_command(*training_words(latents, f"--ckpt_path={trained}", *processes, command="validate"))
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "val/loss" in line)
    loss = float(line.replace("│", "|").split("|")[2])
    assert loss == pytest.approx(validated(latents, f"--ckpt_path={trained}"), rel=1e-5)


def test_other_data_is_refused_on_resuming(trained: Path, latents: Path, tmp_path: Path) -> None:
    shutil.copytree(latents, tmp_path / "other")
    own = LatentStatistics.read(tmp_path / "other" / "latents_stats.pt")
    LatentStatistics(own.mean, own.std + 1).write(tmp_path / "other" / "latents_stats.pt")
    with pytest.raises(InputError, match="latent std differ"):
        main(training_words(tmp_path / "other", f"--ckpt_path={trained}", "--trainer.max_epochs=3"))


def test_fine_tuning_starts_from_published_weights(
    trained: Path, latents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = UserConditionedDiTModule.load_from_checkpoint(trained, weights_only=True)
    published = to_published(module.require_network())
    published["y_embedder.embedding_table.weight"] = torch.zeros(1001, 32)
    torch.save({"ema": published}, tmp_path / "published.pt")
    main(
        training_words(latents, f"--model.published_checkpoint={tmp_path}/published.pt", "--trainer.fast_dev_run=true")
    )
    out = capsys.readouterr().out
    assert "starts from new values" in out
    assert "1001" in out


def test_images_show_the_chosen_users_drawn_with_the_average(latents: Path, tmp_path: Path) -> None:
    grid = "{class_path: SampleGrid, init_args: {every_n_epochs: 1, user_ids: [5, 1], samples_per_user: 2}}"
    callbacks = f"--trainer.callbacks=[{{class_path: EMA}}, {grid}]"
    main(training_words(latents, callbacks, "--trainer.max_epochs=1"))
    run = tmp_path / "runs" / "dit_microdoppler" / "version_0"
    (image,) = (run / "images").glob("samples_*.png")
    (checkpoint,) = (run / "checkpoints").iterdir()  # its state_dict is the average
    module = UserConditionedDiTModule.load_from_checkpoint(checkpoint, weights_only=True)
    samples = module.generate(torch.tensor([5, 5, 1, 1]), torch.tensor([0, 1, 0, 1])).permute(0, 2, 3, 1).numpy()
    rows = {"user 5": list(samples[:2]), "user 1": list(samples[2:])}
    expected = spectrogram_sheet(rows, module.require_latent_space().axes, height=192)
    np.testing.assert_allclose(read_rgb(image).astype(int), expected.astype(int), rtol=0, atol=1)
    weights = load_checkpoint(checkpoint)["current_model_state"]
    assert not torch.equal(weights["network.x_embedder.proj.weight"], module.require_network().x_embedder.proj.weight)


@pytest.mark.slow
def test_two_processes_share_the_data(latents: Path, tmp_path: Path) -> None:
    overlays = [f"--config={ROOT / 'configs' / 'overlays' / name}.yaml" for name in ("cpu", "ddp")]
    words = training_words(latents, *overlays, "--trainer.devices=2", "--data.batch_size=4")
    done = run_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "dit_microdoppler" / "version_0"
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert load_checkpoint(checkpoint)["global_step"] == 2 * (30 // (2 * 4))  # of 30 latents, 4 a process
    losses = values(run, "val/loss")
    assert len(losses) == 2
    assert validated(latents, f"--ckpt_path={checkpoint}") == pytest.approx(losses[-1], rel=1e-5)
