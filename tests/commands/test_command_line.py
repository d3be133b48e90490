"""The command line as a whole: mistakes, printed configurations, and the pipeline."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from cli import main, run
from formats.errors import InputError
from formats.latent_shards import find_shards, open_shard
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.tokenizers import VAVAE
from tests.support.commands import ROOT, extraction_words, load_checkpoint, run_command, training_words
from tests.support.filling import filled_state_dict

FULL = "--config=configs/dit_microdoppler.yaml"  # the shipped file, from any folder


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["fit", FULL], 1, "no latents of split 'train'"),
        (["fit", FULL, "--model.learning_rat=3"], 2, "--model.learning_rat: .* Did you mean 'learning_rate'?"),
        (["fit", FULL, "--model=NoSuchModule"], 2, "unknown class NoSuchModule. Choose from"),
        (["fit", FULL, "--model.network.depth=three"], 2, "--model.network.depth: 'three' is not a valid value"),
        (["fit", FULL, "--nonsense=1"], 2, "nonsense"),
        (["fit"], 2, "required.*data"),
        (["fit", "--config=nowhere.yaml"], 1, "nowhere.yaml: no such configuration file"),
        (["fit", FULL, "--ckpt_path=nowhere.ckpt"], 1, "nowhere.ckpt: no such checkpoint"),
        (["dance"], 2, "unknown command 'dance'"),
        (["prepare", "microdoppler-sample", "--out=x", "--num_users=0"], 1, "--num_users: "),
    ],
)
def test_a_mistake_ends_in_one_readable_line(
    words: list[str], status: int, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cli.py", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == status
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(expected, last)


@pytest.mark.slow
def test_a_mistake_shows_no_traceback(tmp_path: Path) -> None:
    done = run_command("fit", FULL, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no latents of split 'train'" in done.stderr.strip().splitlines()[-1]


def test_sizes_that_do_not_fit_are_the_users_mistake(latents: Path) -> None:
    with pytest.raises(InputError, match="not a multiple"):
        main(training_words(latents, "--model.network.hidden_size=33"))
    with pytest.raises(InputError, match=r"latents: have shape \(52, 1, 4\).*linear_latents"):
        main(training_words(latents, "--model.network.input_width=8"))
    with pytest.raises(InputError, match=r"num_classes: is 7, but the data has 3"):
        main(training_words(latents, "--model.network.num_classes=7"))


def print_config(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*words, "--print_config"])
    return capsys.readouterr().out


def test_printed_configuration_is_complete_commented_and_runs(
    latents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = print_config(capsys, *training_words(latents))
    (tmp_path / "full.yaml").write_text(text)
    assert "# Probability of replacing a label" in text
    content = yaml.safe_load(text)
    assert content["model"]["init_args"]["network"]["mlp_ratio"] == 4.0
    main(["fit", f"--config={tmp_path}/full.yaml", "--trainer.fast_dev_run=true"])


def test_full_size_experiment_is_the_published_network(latents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped file with the data's folder: 28 layers of width 1152, on the meta device."""
    content = yaml.safe_load(print_config(capsys, "fit", FULL, f"--data.data_dir={latents}"))
    settings = content["model"]["init_args"]
    sizes = {name: settings["network"][name] for name in ("depth", "hidden_size", "num_heads", "input_size")}
    assert sizes == {"depth": 28, "hidden_size": 1152, "num_heads": 16, "input_size": 16}
    assert content["data"]["init_args"]["batch_size"] == 32
    assert settings["learning_rate"] == 1e-4
    assert settings["final_learning_rate_ratio"] == 0.1
    assert content["trainer"]["precision"] == "auto"
    with torch.device("meta"):
        module = UserConditionedDiTModule(**settings | {"network": settings["network"] | {"num_classes": 1000}})
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(675e6, rel=0.001)


@pytest.mark.slow
def test_full_size_file_trains_when_made_smaller(latents: Path, tmp_path: Path) -> None:
    """Its own callbacks and loggers, W&B included, with a small network."""
    small = [f"--model.network.{size}" for size in ("input_width=4", "hidden_size=32", "depth=2", "num_heads=2")]
    small.insert(0, "--config=configs/overlays/linear_latents.yaml")
    more = [f"--data.data_dir={latents}", "--data.batch_size=8", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    main(["fit", FULL, *small, *more, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"])
    run_folder = tmp_path / "runs" / "dit_microdoppler" / "version_0"
    assert {path.name for path in (run_folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert "lr-AdamW" in (run_folder / "metrics.csv").read_text()
    assert yaml.safe_load((run_folder / "config.yaml").read_text())["model"]["init_args"]["network"]["depth"] == 2


def test_a_checkpoint_of_another_task_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match=r"is of the micro-Doppler task \(UserConditionedDiTModule\)"):
        main(["predict", "--config=configs/layers_decompose.yaml", f"--ckpt_path={trained}"])


def test_a_checkpoint_validates_with_the_full_size_file(
    trained: Path, latents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network's size is the checkpoint's, and what the user types overrides the rest of it."""
    words = ["validate", FULL, f"--ckpt_path={trained}", f"--data.data_dir={latents}"]
    content = yaml.safe_load(print_config(capsys, *words, "--model.guidance_scale=2.5"))
    settings = content["model"]["init_args"]
    assert settings["network"]["depth"] == load_checkpoint(trained)["hyper_parameters"]["network"]["depth"] == 2
    assert settings["guidance_scale"] == 2.5
    assert settings["num_steps"] == 250  # the file's, over the checkpoint's 3


@pytest.mark.slow
def test_latents_of_a_published_vavae_file(spectrograms: Path, tmp_path: Path) -> None:
    published = json.loads((ROOT / "tests" / "parity" / "vavae_small.keys.json").read_text())
    content = filled_state_dict(published) | {"loss.logvar": torch.zeros(())}
    torch.save({"state_dict": content}, tmp_path / "vavae.pt")
    main(extraction_words(spectrograms, tmp_path / "out", f"--model.tokenizer_path={tmp_path}/vavae.pt"))
    (path,) = find_shards(tmp_path / "out", "val")
    assert open_shard(path).latents.shape == (12, 8, 4, 4)
    assert VAVAE(32, (1, 1, 2, 2, 4), 8).latent_shape(64, 64) == (8, 4, 4)
