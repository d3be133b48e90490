"""Meanings of `--ckpt_path`, settings that act on a resumed run, and damaged checkpoints."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from formats.errors import InputError
from tests.support.toy_task import assert_same_state, fit, load, run, write_config


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one and two epochs; the second is newer."""
    folder = tmp_path_factory.mktemp("runs")
    for epochs in (1, 2):
        fit(folder, f"--trainer.max_epochs={epochs}")
    return folder


@pytest.fixture
def runs(two_runs: Path, tmp_path: Path) -> Path:
    folder: Path = shutil.copytree(two_runs, tmp_path / "runs")
    write_config(folder)
    return folder


def version(runs: Path, number: int, name: str) -> Path:
    return runs / "toy" / f"version_{number}" / "checkpoints" / name


def test_last_is_the_newest_run_of_the_configuration(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = fit(runs, "--ckpt_path=last", "--trainer.max_epochs=3") / "last.ckpt"
    assert new == version(runs, 2, "last.ckpt")
    assert load(new)["global_step"] == 18
    output = capsys.readouterr()
    assert f"--ckpt_path last: {version(runs, 1, 'last.ckpt')}" in output.err
    assert "step 12\n" in output.out
    assert "step 11\n" not in output.out


@pytest.mark.slow
def test_last_gives_the_checkpoints_settings(runs: Path) -> None:
    fit(runs, "--ckpt_path=last", "--trainer.max_epochs=2", "--model.width=3")
    width_5 = fit(runs, "--trainer.max_epochs=1", "--model.width=5")
    assert load(width_5 / "last.ckpt")["state_dict"]["network.weight"].shape == (5, 1)
    resumed = fit(runs, "--ckpt_path=last", "--trainer.max_epochs=2")
    assert load(resumed / "last.ckpt")["state_dict"]["network.weight"].shape == (5, 1)


@pytest.mark.parametrize("word", ["last", "best"])
def test_words_work_for_evaluation(runs: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("test", f"--config={runs}/toy.yaml", f"--ckpt_path={word}")
    assert f"--ckpt_path {word}: {version(runs, 1, f'{word}.ckpt')}" in capsys.readouterr().err


def test_hpc_is_what_slurms_signal_saved(runs: Path) -> None:
    for number, source in ((2, 0), (10, 1)):
        shutil.copy(version(runs, source, "last.ckpt"), runs / f"hpc_ckpt_{number}.ckpt")
    new = fit(runs, "--ckpt_path=hpc", "--trainer.max_epochs=3")
    assert load(new / "last.ckpt")["global_step"] == 18


@pytest.mark.filterwarnings("ignore:.*exists and is not empty")  # without a logger, runs share a folder
@pytest.mark.parametrize("logger", ["false", "true", "[{class_path: TensorBoardLogger, init_args: {save_dir: runs}}]"])
def test_last_with_other_loggers(tmp_path: Path, logger: str) -> None:
    words = [f"--config={write_config(tmp_path)}", f"--trainer.logger={logger}"]
    run("fit", *words, "--trainer.max_epochs=1")
    run("fit", *words, "--trainer.max_epochs=2", "--ckpt_path=last")
    newest = max(tmp_path.rglob("last*.ckpt"), key=lambda path: path.stat().st_mtime)
    assert load(newest)["global_step"] == 12


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("last", "--ckpt_path: 'last': there is no such checkpoint in"),
        ("best", "--ckpt_path: 'best': there is no such checkpoint in"),
        ("hpc", "--ckpt_path: 'hpc': there is no such checkpoint in"),
        ("registry", "--ckpt_path: 'registry': model registries are not supported"),
        ("registry:mine/model", "--ckpt_path: 'registry:mine/model': model registries are not supported"),
        ("nowhere.ckpt", "nowhere.ckpt: no such checkpoint"),
    ],
)
def test_nothing_starts_from_the_beginning_when_asked_to_continue(tmp_path: Path, word: str, message: str) -> None:
    for command in ("fit", "test"):
        with pytest.raises(InputError, match=message):
            run(command, f"--config={write_config(tmp_path)}", f"--ckpt_path={word}")
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize("asked", ["last", "path"])
def test_a_damaged_checkpoint_is_named_and_the_newest_undamaged_one_used(
    runs: Path, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, other = version(runs, 1, "last.ckpt"), version(runs, 1, "best.ckpt")
    os.truncate(damaged, 3000)
    path = "last" if asked == "last" else str(damaged)
    new = fit(runs, f"--ckpt_path={path}", "--trainer.max_epochs=3")
    assert f"warning: {damaged} is damaged; {other} is the newest checkpoint that is not" in capsys.readouterr().err
    assert load(new / "last.ckpt")["global_step"] == 18


def test_predictions_are_never_made_from_another_checkpoint_than_named(runs: Path) -> None:
    damaged = version(runs, 1, "last.ckpt")
    content = bytearray(damaged.read_bytes())
    content[content.index(load(damaged)["state_dict"]["network.weight"].numpy().tobytes())] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.ckpt: is damaged"):
        run("predict", f"--config={runs}/toy.yaml", f"--ckpt_path={damaged}")


def test_all_checkpoints_damaged(runs: Path) -> None:
    for path in runs.rglob("*.ckpt"):
        os.truncate(path, 3000)
    with pytest.raises(InputError, match="is damaged, and so are the other checkpoints"):
        fit(runs, "--ckpt_path=last")


RATES = [
    ("--model.learning_rate=0.5", "the learning rate is 0.5; the checkpoint had 0.001", {"lr": 0.5, "initial_lr": 0.5}),
    ("--model.weight_decay=0.1", "weight_decay is 0.1; the checkpoint had 0.0", {"weight_decay": 0.1}),
]


@pytest.mark.parametrize(("option", "message", "expected"), RATES)
def test_settings_of_the_optimiser_act_on_a_resumed_run(
    runs: Path, option: str, message: str, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    new = load(fit(runs, "--ckpt_path=last", "--trainer.max_epochs=3", option) / "last.ckpt")
    group = new["optimizer_states"][0]["param_groups"][0]
    assert {name: group[name] for name in expected} == expected
    assert message in caplog.text
    same = load(fit(runs, f"--ckpt_path={version(runs, 1, 'last.ckpt')}", "--trainer.max_epochs=3") / "last.ckpt")
    assert not torch.equal(new["state_dict"]["network.weight"], same["state_dict"]["network.weight"])


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # one step, and no validation
def test_a_new_learning_rate_goes_on_in_the_schedule(tmp_path: Path) -> None:
    """The warm-up takes ten steps; after six, a run goes on with another peak."""
    stopped = fit(tmp_path, "--trainer.max_epochs=1") / "last.ckpt"
    words = [f"--ckpt_path={stopped}", "--model.learning_rate=0.5", "--trainer.max_steps=7"]
    resumed = load(fit(tmp_path, *words) / "last.ckpt")
    assert resumed["lr_schedulers"][0]["base_lrs"] == [0.5]
    assert resumed["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.5 * 8 / 10)
    momentum = resumed["optimizer_states"][0]["state"][0]["momentum_buffer"]
    step = resumed["current_model_state"]["network.weight"] - load(stopped)["current_model_state"]["network.weight"]
    torch.testing.assert_close(step, -0.5 * 7 / 10 * momentum)


def test_unchanged_settings_change_no_bit(runs: Path) -> None:
    explicit = fit(
        runs, f"--ckpt_path={version(runs, 0, 'last.ckpt')}", "--model.learning_rate=0.001", "--trainer.max_epochs=2"
    )
    assert_same_state(load(version(runs, 1, "last.ckpt")), load(explicit / "last.ckpt"))
