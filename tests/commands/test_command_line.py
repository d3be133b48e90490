"""The door itself: help, mistakes, printed configurations, and every shipped configuration."""

import json
import os

import pytest
import torch
import yaml

from cli import main, run
from formats.errors import InputError
from formats.latent_shards import find_shards, open_shard
from networks.tokenizers import VAVAE
from tests.support.commands import ROOT, extraction_words, run_command, training_words
from tests.support.filling import filled_state_dict

FULL = f"--config={ROOT / 'configs' / 'dit_microdoppler.yaml'}"


def test_help_names_every_command(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "prepare", "pipeline", "microdoppler-sample"):
        assert command in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", FULL], "no latents of split 'train'"),
        (["fit", FULL, "--model.learning_rat=3"], "did you mean 'learning_rate'?"),
        (["fit", FULL, "--model=NoSuchModule"], "there is no class NoSuchModule; there are UserConditionedDiTModule"),
        (["fit", FULL, "--model.network.depth=three"], "three"),
        (["fit", FULL, "--nonsense=1"], "nonsense"),
        (["fit", "--config=nowhere.yaml"], "nowhere.yaml"),
        (["fit", FULL, "--ckpt_path=nowhere.ckpt"], "nowhere.ckpt: there is no such checkpoint"),
        (["dance"], "dance: is no command"),
        (["prepare", "microdoppler-sample", "--out=x", "--num_users=0"], "--num_users: 0 is less than 1"),
    ],
)
def test_a_mistake_ends_in_one_readable_line(words, expected, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cli.py", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code in (1, 2)
    assert expected in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_mistake_shows_no_traceback(tmp_path):
    done = run_command("fit", FULL, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no latents of split 'train'" in done.stderr.strip().splitlines()[-1]


def test_readable_leaves_other_messages_alone():
    assert (
        readable("the following arguments are required: fit.data") == "the following arguments are required: fit.data"
    )


def test_sizes_that_do_not_fit_are_the_users_mistake(latents):
    with pytest.raises(InputError, match="not a multiple"):
        main(training_words(latents, "--model.network.hidden_size=33"))
    with pytest.raises(InputError, match=r"latents: have shape \(32, 4, 4\)"):
        main(training_words(latents, "--model.network.input_size=8"))
    with pytest.raises(InputError, match=r"num_classes: is 7 where the data holds 3"):
        main(training_words(latents, "--model.network.num_classes=7"))


def test_printed_configuration_is_complete_commented_and_runs(latents, tmp_path):
    done = run_command(*training_words(latents, "--print_config"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "full.yaml").write_text(done.stdout)
    assert "# Probability of replacing a label" in done.stdout
    content = yaml.safe_load(done.stdout)
    assert content["model"]["init_args"]["network"]["mlp_ratio"] == 4.0
    main(["fit", f"--config={tmp_path}/full.yaml", "--trainer.fast_dev_run=true"])


def test_full_size_experiment_is_the_published_network(latents, tmp_path):
    """The shipped file as it stands, but for the data's folder: 28 layers of width 1152, on the meta device."""
    done = run_command("fit", FULL, f"--data.data_dir={latents}", "--print_config")
    content = yaml.safe_load(done.stdout)
    network = content["model"]["init_args"]["network"]
    sizes = {name: network[name] for name in ("depth", "hidden_size", "num_heads", "input_size")}
    assert sizes == {"depth": 28, "hidden_size": 1152, "num_heads": 16, "input_size": 16}
    assert content["data"]["init_args"]["batch_size"] == 32
    assert content["model"]["init_args"]["learning_rate"] == 1e-4
    assert content["model"]["init_args"]["final_learning_rate_ratio"] == 0.1
    assert content["trainer"]["precision"] == "auto"
    from lightning_modules.user_conditioned_dit import UserConditionedDiTModule

    with torch.device("meta"):
        module = UserConditionedDiTModule(
            **content["model"]["init_args"] | {"network": network | {"num_classes": 1000}}
        )
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(675e6, rel=0.001)


def test_full_size_file_trains_when_made_smaller(latents, tmp_path):
    """Its own callbacks and loggers, W&B included, with a small network."""
    small = [f"--model.network.{size}" for size in ("input_size=4", "hidden_size=32", "depth=2", "num_heads=2")]
    more = [f"--data.data_dir={latents}", "--data.batch_size=8", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    main(["fit", FULL, *small, *more, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"])
    run_folder = tmp_path / "runs" / "dit_microdoppler" / "version_0"
    assert {path.name for path in (run_folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert "lr-AdamW" in (run_folder / "metrics.csv").read_text()


def test_wandb_is_offline_until_signed_in(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE")
    wandb_without_key()
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb_without_key()
    assert "WANDB_MODE" not in os.environ


@pytest.mark.parametrize(
    ("gpu", "bf16", "expected"), [(False, False, "32-true"), (True, False, "16-mixed"), (True, True, "bf16-mixed")]
)
def test_precision_follows_the_hardware(monkeypatch, gpu, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert hardware_precision() == expected


def test_latents_of_a_published_vavae_file(spectrograms, tmp_path):
    published = json.loads((ROOT / "tests" / "parity" / "vavae_small.keys.json").read_text())
    content = filled_state_dict(published) | {"loss.logvar": torch.zeros(())}
    torch.save({"state_dict": content}, tmp_path / "vavae.pt")
    main(extraction_words(spectrograms, tmp_path / "out", f"--model.tokenizer_path={tmp_path}/vavae.pt"))
    (path,) = find_shards(tmp_path / "out", "val")
    assert open_shard(path).latents.shape == (12, 8, 4, 4)
    assert VAVAE(32, (1, 1, 2, 2, 4), 8).latent_shape(64, 64) == (8, 4, 4)


def test_pipeline_goes_on_where_it_failed(tmp_path):
    """Prepare, then the three stages; the second try starts at the stage that failed."""
    done = run_command(
        "prepare", "microdoppler-sample", "--out=walkers", "--num_users=2", "--train_per_user=10", "--val_per_user=2",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    small = {"model": {"init_args": {"hidden_size": 32, "depth": 1, "num_heads": 2, "num_points": 3}}}
    small["trainer"] = {"check_val_every_n_epoch": 1}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    tiny = ROOT / "configs" / "overlays" / "tiny_microdoppler.yaml"
    words = ["pipeline", "microdoppler", "--data_dir", "walkers", "--output_dir", "out", "--batch_size", "4"]
    words += ["--max_epochs", "2", "--devices", "1", "--num_samples_per_user", "2", "--overlays", tiny, "small.yaml"]

    failed = run_command(*words, "--generate_user_ids", "1", "9", cwd=tmp_path)
    assert failed.returncode == 1
    assert "user 9: is not among the users" in failed.stderr
    assert "stage 'generate': failed" in failed.stderr.strip().splitlines()[-1]
    again = run_command(*words, "--generate_user_ids", "1", "2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "latents: done before" in again.stdout
    assert "train: done before" in again.stdout
    names = sorted(path.name for path in (tmp_path / "out" / "samples").glob("micro_doppler_user*"))
    assert names == [f"micro_doppler_user0{user}_00{number}.png" for user in (1, 2) for number in (1, 2)]
    assert "validation loss" in again.stdout
    longer = run_command(*words, "--generate_user_ids", "1", "2", "--max_epochs", "3", cwd=tmp_path)
    assert "train: going on from" in longer.stdout
