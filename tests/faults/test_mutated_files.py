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
import warnings
from collections import Counter
from pathlib import Path

import pytest

from tests.support.mutations import Outcomes, Reader, try_mutations
from tests.support.readers import READERS

FAST, FULL = 10, 400  # mutations per reader
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
def test_ten_thousand_mutations(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    total, faults = Counter[str](), []
    for number, reader in enumerate(READERS):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-m", "tests.faults.test_mutated_files", str(number), str(folder)]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            where = (folder / "log").read_text() if (folder / "log").exists() else reader.name
            faults.append(f"{where}: exit status {run.returncode}: {run.stderr[-300:]}")
            continue
        result = json.loads(run.stdout.splitlines()[-1])
        total.update(result["counts"])
        faults += result["failures"]
        print(f"{reader.name:24} {result['counts']}", flush=True)
    Path("mutations.json").write_text(json.dumps({"counts": total, "failures": faults}, indent=2))
    print(f"{total.total()} mutations: {dict(total)}", flush=True)
    assert faults == []
    assert total.total() >= 10_000


if __name__ == "__main__":
    chosen, work = READERS[int(sys.argv[1])], Path(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    (work / "data").mkdir()
    found = failures(chosen, work / "data", range(int(FULL * chosen.share)), work / "log")
    print(json.dumps({"counts": found.counts, "failures": found.failures}))
