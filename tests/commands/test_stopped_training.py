"""Signals to `fit`: what is saved, what is printed, and how it exits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from command_line.main import exit_with_message
from tests.support.commands import ROOT
from tests.support.toy_task import assert_same_state, fit, load, run, write_config

SLOW_STEPS = ["--model.step_seconds=0.2"]


class Started:
    """A command of the toy task in a process of its own, forked since imports take seconds."""

    def __init__(self, folder: Path, command: str, *words: str, environment: Mapping[str, str] = {}) -> None:
        self.output, self.errors = folder / "stdout", folder / "stderr"
        arguments = (command, f"--config={write_config(folder)}", *words)
        process = multiprocessing.get_context("fork").Process
        self.process = process(target=self._run, args=(arguments, environment))
        self.process.start()

    def _run(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        sys.stdout, sys.stderr = self.output.open("w", buffering=1), self.errors.open("w", buffering=1)
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):  # nohup ignores SIGHUP
            signal.signal(number, signal.SIG_DFL)
        exit_with_message(lambda: run(*arguments))

    def wait_for(self, line: str) -> None:
        """Wait for a line of the output."""
        while not (self.output.exists() and line in self.output.read_text().splitlines()):
            assert self.process.is_alive(), self.errors.read_text()
            time.sleep(0.01)

    def stop(self, number: signal.Signals, line: str) -> tuple[int | None, str]:
        """Send a signal after a line of the output, and return the exit status and stderr."""
        self.wait_for(line)
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return self.end()

    def end(self) -> tuple[int | None, str]:
        """Wait for the end, and return the exit status and stderr."""
        self.process.join(120)
        return self.process.exitcode, self.errors.read_text()


def test_sigterm_saves_and_names_the_checkpoint(tmp_path: Path) -> None:
    status, errors = Started(tmp_path, "fit", "--model.step_seconds=0.05").stop(signal.SIGTERM, "step 2")
    assert status == 128 + signal.SIGTERM
    path = tmp_path / "toy" / "version_0" / "checkpoints" / "last.ckpt"
    steps = load(path)["global_step"]
    assert steps >= 3
    assert f"SIGTERM: stopped after step {steps}; go on with --ckpt_path {path}" in errors.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGTERM, "step 8"),
        (signal.SIGINT, "step 8"),
        (signal.SIGHUP, "step 5"),
        (signal.SIGTERM, "validation batch 2"),
        (signal.SIGINT, "step 0"),
    ],
)
def test_a_stopped_run_names_its_checkpoint_and_goes_on_with_the_same_bits(
    tmp_path: Path, number: signal.Signals, line: str
) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    status, errors = Started(stopped, "fit", *SLOW_STEPS, "--model.val_seconds=0.2").stop(number, line)
    assert status == 128 + number
    path = stopped / "toy" / "version_0" / "checkpoints" / "last.ckpt"
    named = [text for text in errors.splitlines() if "go on with" in text]
    steps = load(path)["global_step"]
    assert named == [f"{number.name}: stopped after step {steps}; go on with --ckpt_path {path}"]
    assert "Traceback" not in errors
    resumed = fit(stopped, f"--ckpt_path={path}", "--model.step_seconds=0", "--model.val_seconds=0") / "last.ckpt"
    assert_same_state(load(fit(whole) / "last.ckpt"), load(resumed))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_saving_waits_for_the_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """A checkpoint of 200 MB takes a moment to write; the signal comes when its temporary file exists."""
    words = ["fit", "--model.width=8000000", "--trainer.callbacks.every_minutes=1e-9", "--trainer.max_epochs=1"]
    started = Started(tmp_path, *words)
    folder = tmp_path / "toy" / "version_0" / "checkpoints"
    while not list(folder.glob(".last.*.partial.ckpt")):
        assert started.process.is_alive(), started.errors.read_text()
    assert started.process.pid is not None
    os.kill(started.process.pid, number)
    status, errors = started.end()
    assert status == 128 + number, errors
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert f"--ckpt_path {folder}/last.ckpt" in errors
    assert load(folder / "last.ckpt")["global_step"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_other_commands_stop_at_once(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out" / "toy.txt"
    started = Started(tmp_path, "predict", "--model.val_seconds=0.2", f"--model.output={out}")
    status, errors = started.stop(number, "prediction 1")
    assert status == 128 + number
    assert "Traceback" not in errors
    assert [path.name for path in out.parent.iterdir()] == ["toy.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1])
def test_slurms_signal_saves_and_requeues_and_the_job_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """A stand-in for scontrol records the request; the requeued job is the same command."""
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/requests\n")
    scontrol.chmod(0o755)
    variables = {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "toy", "SLURM_PROCID": "0"}
    variables |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "PATH": f"{scontrol.parent}:{os.environ['PATH']}"}
    status, errors = Started(tmp_path, "fit", *SLOW_STEPS, environment=variables).stop(number, "step 8")
    assert (tmp_path / "requests").read_text() == "requeue 7\n", errors
    assert status == 128 + number
    steps = load(tmp_path / "hpc_ckpt_1.ckpt")["global_step"]
    assert steps in (9, 10)
    again = Started(tmp_path, "fit", environment=variables)
    again.wait_for(f"step {steps}")
    status, errors = again.end()
    assert status == 0, errors
    resumed = load(tmp_path / "toy" / "version_1" / "checkpoints" / "last.ckpt")
    assert_same_state(load(fit(tmp_path / "whole") / "last.ckpt"), resumed)


@pytest.mark.slow
def test_a_signal_reaches_all_processes(tmp_path: Path) -> None:
    """The first of two processes gets the signal; both stop after the same step."""
    words = ["-m", "tests.support.run_toy_task", "fit", f"--config={write_config(tmp_path)}", *SLOW_STEPS]
    words += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=100"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command, pipe = [sys.executable, *words], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        has_started = any(line.strip() == "step 1" for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=240)
    assert has_started, errors
    assert process.returncode == 128 + signal.SIGTERM, errors
    path = tmp_path / "toy" / "version_0" / "checkpoints" / "last.ckpt"
    assert f"stopped after step {load(path)['global_step']}; go on with --ckpt_path {path}" in errors
    assert load(path)["global_step"] < 300
