"""Dockerfile, conda environment, Makefile and README install what pyproject.toml offers."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import ROOT

INSTALLERS = ["Dockerfile", "environment.yml", "Makefile", "README.md", "docs/weights.md", "docs/layers.md"]


def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def instructions(name: str) -> list[str]:
    """Instructions named ``name`` of the Dockerfile, without the name."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def versions() -> set[str]:
    return {line.rpartition(" ")[2] for line in project()["classifiers"] if re.search(r":: \d+\.\d+$", line)}


@pytest.mark.parametrize("name", INSTALLERS)
def test_extras_exist(name: str) -> None:
    named = re.findall(r"(?:trilight|[\s'\"]\.)\[([\w,-]+)\]", (ROOT / name).read_text(encoding="utf-8"))
    assert named, f"{name} installs no extra"
    for extra in ",".join(named).split(","):
        assert extra in project()["optional-dependencies"]


def test_all_names_the_extras_of_users() -> None:
    extras = project()["optional-dependencies"]
    (named,) = extras["all"]
    left_out = {"all", "app", "completion", "dev", "docs", "export", "weights"}
    assert set(re.findall(r"\[(.+)\]", named)[0].split(",")) == set(extras) - left_out


def test_the_image_runs_the_installed_command() -> None:
    (entry,) = instructions("ENTRYPOINT")
    assert json.loads(entry)[0] in project()["scripts"]
    (image,) = instructions("FROM")
    found = re.search(r"python:(\d+\.\d+)-", image)
    assert found is not None
    assert found[1] in versions()
    for source in instructions("COPY"):
        assert (ROOT / source.split()[0]).exists()
    assert instructions("USER") == ["trilight"]
    assert instructions("ARG") == ["VARIANT=cpu"]


def test_the_image_gets_all_files_of_the_wheel() -> None:
    ignored = {line.strip("/*") for line in (ROOT / ".dockerignore").read_text().split()}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert not ignored & {*packages, "cli.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"}


@pytest.mark.parametrize("name", ["Dockerfile", "environment.yml", "Makefile"])
def test_versions_are_pinned(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "--constraint constraints.txt" in text
    assert (ROOT / "constraints.txt").is_file()


def test_the_conda_environment_has_a_python_of_the_project() -> None:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert content["name"] == project()["name"]
    (python,) = [part for part in content["dependencies"] if str(part).startswith("python=")]
    assert python.partition("=")[2] in versions()
    assert "pip" in content["dependencies"]


def test_commands_in_comments_exist() -> None:
    """Each ``docker run … trilight COMMAND`` is a command, with a configuration that is shipped."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    words = [match.split() for match in re.findall(r"docker run .* trilight(?::cuda)? (.+)", text)]
    assert [part[0] for part in words] == ["decompose", "fit"]
    assert (Path(ROOT) / "configs" / words[1][-1]).is_file()
