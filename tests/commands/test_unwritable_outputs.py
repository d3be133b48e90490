"""Outputs that cannot be written end every command in one readable line, and earlier files stay."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import TASKS, main
from command_line.tasks import tool_targets
from formats.errors import InputError
from tests.support.commands import ROOT, extraction_words, run_command, training_words, write_spectrograms
from tests.support.toy_task import fit, load, run, write_config

SETTINGS = {
    "microdoppler-sample": ["--num_users=1", "--train_per_user=1", "--val_per_user=1"],
    "aerial-city-sample": ["--num_scenes=2", "--val_scenes=1", "--width=64", "--height=48"],
    "scenes-sample": ["--num_train=1", "--num_val=1", "--num_test=1"],
    "illustrations-sample": ["--num_images=1", "--size=64"],
}


@pytest.mark.parametrize("tool", list(SETTINGS))
def test_a_file_where_a_tools_folder_should_be(tmp_path: Path, tool: str) -> None:
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="file: is a file where a folder should be"):
            main(["prepare", tool, f"--out={out}", *SETTINGS[tool]])
    assert (tmp_path / "file").read_text() == "kept"


def test_a_file_where_the_folder_of_a_drawing_set_should_be(tmp_path: Path) -> None:
    (tmp_path / "svg").mkdir()
    (tmp_path / "svg" / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h1v1z"/></svg>')
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match="file: is a file where a folder should be"):
        main(["prepare", "layers", "--svg_dir=svg", f"--out={tmp_path}/file/layers"])


@pytest.mark.parametrize("pipeline", list(tool_targets(TASKS, "pipeline")))
def test_a_file_where_a_pipelines_folder_should_be(tmp_path: Path, pipeline: str) -> None:
    (tmp_path / "file").write_text("kept")
    data = ["--data_dir=data"] if pipeline == "microdoppler" else []
    with pytest.raises(InputError, match="file: is a file where a folder should be"):
        main(["pipeline", pipeline, *data, f"--output_dir={tmp_path}/file/out"])


def test_a_file_where_the_run_folder_should_be(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "toy").write_text("kept")
    with pytest.raises(InputError, match="toy: is a file where a folder should be"):
        run("fit", f"--config={config}")
    with pytest.raises(InputError, match="toy: is a file where a folder should be"):
        run("predict", f"--config={config}", f"--model.output={tmp_path}/toy/out.txt", "--trainer.logger=false")


def full_when_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every write to the disk fail, once the data is complete."""

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


def test_training_goes_on_after_space_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = fit(tmp_path, "--trainer.max_epochs=1") / "last.ckpt"
    before = saved.read_bytes()
    with monkeypatch.context() as context:
        full_when_saving(context)
        with pytest.raises(InputError, match=r"\.ckpt: cannot be written: no space left on the disk\. Make space"):
            run("fit", f"--config={tmp_path}/toy.yaml", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert saved.read_bytes() == before
    assert list(tmp_path.rglob("*.ckpt")) == [path for path in tmp_path.rglob("*.ckpt") if "version_0" in str(path)]
    assert load(fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=2") / "last.ckpt")["global_step"] == 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Use up the space of a disk, and return the file to remove."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


TOOLS_ON_A_DISK = [*SETTINGS, "predict"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", *TOOLS_ON_A_DISK])
def test_commands_on_a_full_disk_say_so_and_go_on_later(small_disk: Path, tmp_path: Path, command: str) -> None:
    if command == "fit":
        words = ["fit", f"--config={write_config(small_disk)}", "--trainer.max_epochs=1"]
    elif command == "predict":
        words = extraction_words(write_spectrograms(tmp_path / "data", 10, 1), small_disk / "out")
    else:
        words = ["prepare", command, f"--out={small_disk}/out", *SETTINGS[command]]
    filler = fill(small_disk)

    def attempt() -> None:
        run(*words) if command == "fit" else main(words)

    with pytest.raises(InputError, match="cannot be written: no space left on the disk. Make space"):
        attempt()
    filler.unlink()
    attempt()
    assert not list(small_disk.rglob("*.partial*"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "prepare"])
def test_the_message_is_one_line_without_a_traceback(tmp_path: Path, latents: Path, command: str) -> None:
    (tmp_path / "runs").write_text("a file")
    words = training_words(latents) if command == "fit" else ["prepare", "illustrations-sample", "--out=runs/x"]
    done = run_command(*words, cwd=tmp_path)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "runs: is a file where a folder should be. Remove or rename it" in errors[0]
    assert "Traceback" not in done.stderr


HOLD = """
import pathlib, sys, time
from formats.folder_lock import locked
with locked(pathlib.Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_elsewhere(folder: Path, name: str = ".lock") -> Iterator[int]:
    """Hold a folder in another process, which is killed at the end; yield its number."""
    command = [sys.executable, "-c", HOLD, str(folder), name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.send_signal(signal.SIGKILL)


def test_a_second_command_is_refused_while_the_first_works(tmp_path: Path) -> None:
    illustrations = ["prepare", "illustrations-sample", "--out=out", *SETTINGS["illustrations-sample"]]
    with held_elsewhere(tmp_path / "out") as process:
        for words in (illustrations, ["pipeline", "demo", "--output_dir=out"]):
            with pytest.raises(InputError, match=f"out: is in use by process {process}"):
                main(words)
        with pytest.raises(InputError, match=f"out: is in use by process {process}"):
            run("predict", f"--config={write_config(tmp_path)}", "--data.output_dir=out", "--trainer.logger=false")
    main(illustrations)
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_second_training_in_one_folder_is_refused(tmp_path: Path) -> None:
    config = f"--config={write_config(tmp_path)}"
    for folder, name, words in (
        (tmp_path / "toy", ".version_0.lock", ["--trainer.max_epochs=1"]),
        (tmp_path, ".lock", ["--trainer.max_epochs=1", "--trainer.logger=false"]),
    ):
        with held_elsewhere(folder, name) as process, pytest.raises(InputError, match=f"in use by process {process}"):
            run("fit", config, *words)
    assert not list(tmp_path.rglob("*.ckpt"))
    run("fit", config, "--trainer.max_epochs=1")
    assert not list((tmp_path / "toy").glob(".*"))
