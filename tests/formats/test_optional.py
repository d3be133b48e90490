"""A package of an extra that is not installed is one line that names the extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from cli import main
from formats.errors import InputError
from formats.optional import EXTRAS, require_package
from tests.support.commands import ROOT

DISTRIBUTIONS = {"sklearn": "scikit-learn", "psd_tools": "psd-tools", "resvg_py": "resvg-py"}


def test_a_hidden_package_is_one_readable_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    monkeypatch.delitem(sys.modules, "exporters.photoshop", raising=False)
    monkeypatch.delitem(sys.modules, "callbacks.layer_writer", raising=False)
    with pytest.raises(InputError, match=r"^psd_tools: is not installed. .*trilight\[layers\]"):
        main(["decompose", "my.png"])


def test_other_missing_modules_are_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "command_line.configs", None)
    with pytest.raises(ModuleNotFoundError):
        main(["configs"])


def test_a_package_is_required_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_package("psd_tools")
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(InputError, match=r"\[layers\]"):
        require_package("psd_tools")


@pytest.mark.parametrize("package", EXTRAS)
def test_every_extra_installs_its_package(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = DISTRIBUTIONS.get(package, package.replace("_", "-"))
    wanted = project["optional-dependencies"][EXTRAS[package]]
    assert any(requirement.startswith((f"{name}>", f"{name}=")) for requirement in wanted), name


@pytest.mark.slow
@pytest.mark.parametrize(("title", "extras"), [("micro-Doppler", {"hub"}), ("pair depth", {"hub", "pair"})])
def test_a_task_needs_no_packages_of_the_others(title: str, extras: set[str]) -> None:
    hidden = [package for package, extra in EXTRAS.items() if extra not in extras]
    hide = f"import sys; sys.modules.update(dict.fromkeys({hidden}))"
    load = f"[load(name) for task in TASKS if task.title == {title!r} for name in task.classes() + task.prepare]"
    code = f"{hide}; from cli import TASKS; from command_line.tasks import load; {load}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
