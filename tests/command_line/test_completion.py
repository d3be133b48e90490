"""Words that a shell completes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from cli import TASKS, main
from command_line.completion import argument_parser
from command_line.tasks import UsageError, parameters
from formats.errors import InputError

MARKS = SimpleNamespace(FILE={"bash": "file"}, DIRECTORY={"bash": "folder"})


def test_commands_tools_and_options_are_known() -> None:
    parser = argument_parser(TASKS, MARKS)
    for words in (
        ["fit", "--config", "a.yaml", "--trainer.precision", "bf16-mixed", "--lr", "1"],
        ["predict", "--data.images", "a.png", "--model", "LayerIndexModule"],
        ["prepare", "microdoppler-sample", "--out", "x", "--num_users", "3"],
        ["pipeline", "demo", "--output_dir", "x"],
        ["configs", "copy", "dit_microdoppler.yaml"],
        ["decompose", "a.png"],
        ["completion", "bash"],
    ):
        parser.parse_args(words)


def test_parameters_are_read_without_importing() -> None:
    assert parameters("prepare.pipeline:demo") == ["output_dir", "num_users", "tune_guidance"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    main(["completion", shell])
    text = capsys.readouterr().out
    assert "microdoppler-sample" in text
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_usage_and_mistakes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion"])
    assert "trilight completion bash >" in capsys.readouterr().out
    with pytest.raises(UsageError, match="Choose from bash, zsh, tcsh"):
        main(["completion", "fish"])
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(InputError, match="needs shtab, which is not installed. Install it with"):
        main(["completion", "bash"])
