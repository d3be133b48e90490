"""Damaged files: every reader ends in a correct read or an InputError that names the file.

``make test-faults`` tries over 10,000 mutations, each reader in a process of its own with limited memory, and writes
the counts to ``mutations.json``; the fast tests try a fixed sample.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.mutations import Outcomes, Reader, try_mutations
from tests.support.readers import READERS

FAST, FULL = 10, 300  # mutations per reader
MEMORY = 12 * 2**30  # of address space; PyTorch maps about 6 GiB of it
ROOT = Path(__file__).parents[2]


def failures(reader: Reader, folder: Path, seeds: range, log: Path | None = None) -> Outcomes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of decoders, about the damage
        return try_mutations(reader, folder, seeds, log)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_sample_of_mutations(reader: Reader, tmp_path: Path) -> None:
    outcomes = failures(reader, tmp_path, range(FAST))
    assert outcomes.failures == []
    assert outcomes.counts.total() == FAST


def test_readers_have_names_of_their_own() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)
    assert sum(int(FULL * reader.share) for reader in READERS) >= 10_000


@pytest.mark.faults
@pytest.mark.slow
def test_ten_thousand_mutations() -> None:
    command = [sys.executable, "-m", "tests.faults.test_mutated_files", str(Path("mutations.json").resolve())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(run.stdout)
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads(Path("mutations.json").read_text())
    assert [failure for result in results.values() for failure in result["failures"]] == []
    assert sum(sum(result["counts"].values()) for result in results.values()) >= 10_000


def _in_process(reader: Reader, folder: Path) -> dict[str, Any]:
    """Try one reader in a forked process, which may crash and has limited memory."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        (folder / "data").mkdir()
        found = failures(reader, folder / "data", range(int(FULL * reader.share)), folder / "log")
        (folder / "result").write_text(json.dumps({"counts": found.counts, "failures": found.failures}))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        last = (folder / "log").read_text() if (folder / "log").exists() else reader.name
        return {"counts": {}, "failures": [f"{last}: the process ended with status {status}"]}
    result: dict[str, Any] = json.loads((folder / "result").read_text())
    return result


def _try_all(report: Path) -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, reader in enumerate(READERS):
            work = Path(folder) / str(number)
            work.mkdir()
            results[reader.name] = _in_process(reader, work)
            print(f"{reader.name:24} {results[reader.name]}", flush=True)
            report.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    _try_all(Path(sys.argv[1]))
