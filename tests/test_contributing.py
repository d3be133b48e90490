"""The worked examples of CONTRIBUTING.md: built in a copy of the project, trained and tested there."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.commands import ROOT

FILE = re.compile(r"^`(?P<path>[\w/]+\.\w+)`:[^\n]*\n\n```\w+\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"^\| [^|]+ \| `([\w/.]+)`(?:, `(\w+)`)? \|$", re.MULTILINE)
REGISTRY_LINE = re.compile(r"^```python\n(?P<line>Task\([^\n]*)\n```$", re.MULTILINE)


def examples() -> dict[str, str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {match["path"]: match["content"] for match in FILE.finditer(text)}


def places() -> list[tuple[str, str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return PLACE.findall(text)


def registry_line() -> str:
    match = REGISTRY_LINE.search((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert match is not None
    return match["line"]


@pytest.mark.parametrize(("path", "name"), places())
def test_places_to_change_exist(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(def |class )?{name}\b", text, re.MULTILINE), f"{path} does not define {name}"


def test_every_row_of_the_table_is_a_place() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Where to change what")[2].partition("## Add a part")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and line != "| to change | edit |"]
    assert len(places()) == len(rows) > 40


def test_examples_are_whole_and_new() -> None:
    found = examples()
    folders = {path.split("/")[0] for path in found}
    assert {"networks", "batches", "datamodules", "lightning_modules", "configs", "formats", "metrics"} < folders
    for path, content in found.items():
        assert not (ROOT / path).exists(), f"{path} exists; the example shows how to add a file"
        yaml.safe_load(content) if path.endswith(".yaml") else ast.parse(content)
    assert len(ast.parse(registry_line()).body) == 1


@pytest.mark.slow
def test_examples_train_and_pass_their_tests(tmp_path: Path) -> None:
    """The task is one line in the registry and files in obvious places."""
    for name in ["cli.py", "pyproject.toml", *(path.parent.name for path in ROOT.glob("*/__init__.py"))]:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "parity", "results")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copyfile(source, tmp_path / name)
    for path, content in examples().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    registry = (tmp_path / "cli.py").read_text(encoding="utf-8")
    assert registry.count("TASKS = (\n") == 1
    (tmp_path / "cli.py").write_text(
        registry.replace("TASKS = (\n", f"TASKS = (\n    {registry_line()},\n"), encoding="utf-8"
    )

    tests = [path for path in examples() if path.startswith("tests/")]
    assert len(tests) == 4
    for command in (["ruff", "check", "--no-cache"], ["ruff", "format", "--check", "--no-cache"]):
        done = run_module(*command, *(path for path in examples() if path.endswith(".py")), cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    done = run_module("pytest", "-p", "no:cacheprovider", *tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def run_module(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
