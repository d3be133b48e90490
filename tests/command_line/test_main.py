"""The entry point: help, commands, and what they import."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

import cli
from command_line.tasks import UsageError
from tests.support.commands import ROOT

REPORT = "print(sorted({name.partition('.')[0] for name in sys.modules}))"


def modules_of(*words: str) -> str:
    """Run a command in a fresh process, and return the names of the packages it imported."""
    code = f"import sys, cli\ntry:\n    cli.main({list(words)})\nexcept SystemExit:\n    pass\n{REPORT}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["prepare", "--help"], ["pipeline", "demo", "--help"], ["fit", "--help"]],
)
def test_help_does_not_import_pytorch(words: list[str]) -> None:
    names = modules_of(*words)
    assert "'command_line'" in names
    assert "'torch'" not in names


@pytest.mark.slow
def test_help_of_training_does_not_import_tasks() -> None:
    names = modules_of("fit", "--help-all")
    assert "'torch'" in names
    for name in ("lightning_modules", "datamodules", "networks", "timm", "diffusers"):
        assert f"'{name}'" not in names


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    text = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "prepare", "pipeline", "microdoppler-sample", "demo"):
        assert command in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--version"])
    assert capsys.readouterr().out.strip() == importlib.metadata.version("trilight")


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown command 'dance'. Choose from fit, .* pipeline."):
        cli.main(["dance"])


def test_misspelt_commands_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown command 'tets'. Did you mean 'test'?"):
        cli.main(["tets"])
    with pytest.raises(UsageError, match="unknown command 'microdopler-sample'. Did you mean 'microdoppler-sample'?"):
        cli.main(["prepare", "microdopler-sample"])


def test_registry_is_a_page() -> None:
    assert len((ROOT / "cli.py").read_text(encoding="utf-8").splitlines()) <= 100


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, str(ROOT / "cli.py"), "--help"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141
