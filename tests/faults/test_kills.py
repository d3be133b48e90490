"""Kills at random moments while checkpoints are written, with the temporary folder on the same or another disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.commands import ROOT


@pytest.fixture
def memory_disk() -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def kill(folder: Path, temporary: Path, kind: str, rounds: int, megabytes: int) -> dict[str, int]:
    words = [str(folder), kind, str(rounds), "0", str(megabytes)]
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.support.kill_saves", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    print(kind, counts)
    return counts


@pytest.mark.parametrize("kind", ["atomic", "safetensors"])
@pytest.mark.parametrize(
    "rounds", [pytest.param(10, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.faults)]
)
@pytest.mark.parametrize("disks", ["one disk", "two disks"])
def test_a_kill_leaves_a_whole_file(tmp_path: Path, memory_disk: Path, kind: str, rounds: int, disks: str) -> None:
    counts = kill(tmp_path, tmp_path.parent if disks == "one disk" else memory_disk, kind, rounds, megabytes=16)
    assert counts["whole"] == rounds
    assert counts["temporary files"] > 0  # some kills came while writing
    assert counts["left for ever"] == 0
