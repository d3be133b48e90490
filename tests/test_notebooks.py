"""The notebooks run, are small, and use public names only."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT
from tests.support.documents import missing_packages, wrong_names

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 300_000
OWN_TASK_LINES = 50


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def code(path: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(path, "code"))


def test_there_is_one_for_each_task_and_the_index_lists_them() -> None:
    names = {path.name for path in NOTEBOOKS}
    assert {"micro_doppler.ipynb", "pair_depth.ipynb", "layers.ipynb"} <= names
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert names == {line.partition("(")[2].partition(")")[0] for line in index.splitlines() if ".ipynb)" in line}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_small_and_show_results_without_errors(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    assert cells(path, "markdown")[0]["source"][0].startswith("# ")
    outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
    assert outputs
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert all("/tmp" not in json.dumps(output) and "/work" not in json.dumps(output) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_use_public_names(path: Path) -> None:
    assert not wrong_names(code(path))
    assert not missing_packages(code(path))


def test_private_and_missing_names_are_found() -> None:
    wrong = "import trilight\nfrom networks.vggt.model import _check\nfrom networks.vggt import VGGT, Nothing\n"
    assert wrong_names(wrong + "import losses.nothing\ntrilight.VGGTT\n") == [
        "trilight.VGGTT",
        "networks.vggt.model._check",
        "networks.vggt.Nothing",
        "losses.nothing",
    ]
    assert missing_packages("import torch, package_that_is_missing.part\nfrom losses import camera") == [
        "package_that_is_missing"
    ]


def test_a_task_takes_fifty_lines() -> None:
    source = code(ROOT / "notebooks" / "own_task.ipynb")
    assert len([line for line in source.splitlines() if line.strip()]) <= OWN_TASK_LINES
    assert {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)} == {"Dots", "DotCounter"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.run_notebook", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
