"""Training through the command line: what a checkpoint holds, and that an interrupted run ends the same."""

import csv

import pytest
import torch
from torch.testing import assert_close

from cli import main
from formats.errors import InputError
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command, training_words


def weights(checkpoint):
    return {name: tensor for name, tensor in checkpoint.items() if isinstance(tensor, torch.Tensor)}


def metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def values(folder, name):
    return [float(row[name]) for row in metrics(folder) if row.get(name)]


def test_checkpoint_holds_users_statistics_and_tokenizer(trained, latents):
    content = load_checkpoint(trained)["latent_space"]
    assert content["user_ids"].tolist() == [1, 2, 5]
    assert content["policy"] == "dataset"
    assert content["tokenizer"] == str(latents / "tokenizer.safetensors")
    expected = torch.load(latents / "latents_stats.pt", weights_only=True)
    assert_close(content["mean"], expected["mean"].flatten())
    assert_close(content["std"], expected["std"].flatten())


def test_run_folder(trained):
    run = trained.parents[1]
    assert (run / "config.yaml").is_file()
    assert {path.name for path in trained.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(values(run, "val/loss")) == 2
    assert values(run, "train/loss_epoch")


@pytest.mark.parametrize("steps", [6, 5], ids=["after an epoch", "within an epoch"])
def test_resumed_training_ends_with_the_same_weights(latents, tmp_path, monkeypatch, steps):
    """Three steps make an epoch."""

    def train(folder, *more):
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


def test_validation_prints_the_same_value_twice(trained, latents, capsys):
    printed = []
    for _ in range(2):
        main(training_words(latents, f"--ckpt_path={trained}", "--trainer.logger=false", command="validate"))
        printed.append([line for line in capsys.readouterr().out.splitlines() if "val/loss" in line])
    assert printed[0] == printed[1]
    assert len(printed[0]) == 1


def test_validation_does_not_depend_on_batch_size_or_processes(trained, latents):
    found = []
    for more in (["--data.batch_size=12"], ["--data.batch_size=5"], ["--trainer.devices=2", "--trainer.strategy=ddp"]):
        words = training_words(latents, f"--ckpt_path={trained}", "--trainer.logger=false", *more, command="validate")
        done = run_command(*words)
        assert done.returncode == 0, done.stderr
        line = next(line for line in done.stdout.splitlines() if "val/loss" in line)
        found.append(float(line.replace("│", "|").split("|")[2]))
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)


def test_other_data_is_refused_on_resuming(trained, latents, tmp_path):
    import shutil

    from formats.latent_shards import LatentStatistics

    shutil.copytree(latents, tmp_path / "other")
    LatentStatistics(torch.zeros(32), torch.ones(32)).write(tmp_path / "other" / "latents_stats.pt")
    with pytest.raises(InputError, match="latent std differ"):
        main(training_words(tmp_path / "other", f"--ckpt_path={trained}", "--trainer.max_epochs=3"))


def test_fine_tuning_starts_from_published_weights(trained, latents, tmp_path, capsys):
    module = UserConditionedDiTModule.load_from_checkpoint(trained)
    published = to_published(module.network)
    published["y_embedder.embedding_table.weight"] = torch.zeros(1001, 32)
    torch.save({"ema": published}, tmp_path / "published.pt")
    main(
        training_words(latents, f"--model.published_checkpoint={tmp_path}/published.pt", "--trainer.fast_dev_run=true")
    )
    out = capsys.readouterr().out
    assert "starts anew" in out
    assert "1001" in out


def test_pictures_are_drawn_for_chosen_users(latents, tmp_path):
    grid = "{class_path: SampleGrid, init_args: {every_n_epochs: 1, user_ids: [5, 1], samples_per_user: 2}}"
    main(training_words(latents, f"--trainer.callbacks=[{{class_path: EMA}}, {grid}]", "--trainer.max_epochs=1"))
    (picture,) = tmp_path.glob("runs/dit_microdoppler/version_0/pictures/samples_*.png")
    assert picture.stat().st_size > 1000


def test_two_processes_train(latents, tmp_path):
    overlays = [f"--config={ROOT / 'configs' / 'overlays' / name}.yaml" for name in ("cpu", "ddp")]
    words = training_words(latents, *overlays, "--trainer.devices=2", "--data.batch_size=4")
    done = run_command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(values(tmp_path / "runs" / "dit_microdoppler" / "version_0", "val/loss")) == 2
