"""Folders that one process at a time writes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from formats.errors import InputError
from formats.folder_lock import locked
from tests.support.commands import ROOT

HOLD = """
import sys, time, pathlib
from formats.folder_lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"out: is in use by process {process.pid} on .*Wait"), locked(folder):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [path.name for path in folder.iterdir()] == [".lock"]  # held by nobody
        with locked(folder):
            (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_a_folder_is_free_after_the_block_and_an_empty_new_one_removed(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new" / "out"):
            assert (tmp_path / "new" / "out" / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        assert not (tmp_path / "new" / "out").exists()


def test_an_error_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file where a folder should be"), locked(tmp_path / "file" / "out"):
        pass
