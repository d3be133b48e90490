"""Every command in README.md, docs/ and the headers of configurations is accepted by the parser."""

import re
import shlex
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import configs
from cli import TASKS, main
from command_line.arguments import Argument, check_name, check_value
from command_line.main import LIGHTNING_COMMANDS
from command_line.settings import read_sources
from command_line.tasks import load_tool
from command_line.tools import expand_options, join_configs
from tests.support.commands import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").rglob("*.yaml"))]


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words after ``cli.py`` of every command in a document."""
    text = re.sub(r"\\\n\s*#?", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if match := re.match(r"(?:#| {4})\s*python cli\.py (.+)", line):
            yield shlex.split(match[1], comments=True)


def all_commands() -> list[list[str]]:
    found: list[list[str]] = []
    for path in DOCUMENTS:
        found += [words for words in commands(path) if words not in found]
    return found


def test_commands_are_found() -> None:
    assert {words[0] for words in all_commands()} >= {"fit", "test", "predict", "prepare", "pipeline"}


def test_every_configuration_has_a_command() -> None:
    named = {Path(word).name for words in all_commands() for word in words if word.endswith(".yaml")}
    for path in (ROOT / "configs").glob("*.yaml"):
        assert path.name in named, f"{path.name} is in no command"


@pytest.mark.parametrize("words", [words for words in all_commands() if words[0] in LIGHTNING_COMMANDS], ids=" ".join)
def test_training_commands_are_accepted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Checkpoints that the reader does not have yet are left out."""
    kept = list(words)
    for option in ("--ckpt_path", "--dit_checkpoint"):
        while option in kept:
            position = kept.index(option)
            del kept[position : position + 2]
    with pytest.raises(SystemExit) as ended:
        main([*kept, "--print_config"])
    assert ended.value.code in (None, 0)
    assert "class_path" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [words for words in all_commands() if words[0] not in LIGHTNING_COMMANDS], ids=" ".join
)
def test_tool_commands_are_accepted(words: list[str]) -> None:
    tool = load_tool(TASKS, words[0], words[1])
    types = typing.get_type_hints(tool)
    options = join_configs(words[2:]) if "configs" in types else words[2:]
    for source in read_sources(expand_options(options, types)):
        for name, value in source.settings.items():
            argument = Argument(f"--{name}", tool, name, value)
            check_name(argument)
            check_value(argument)


@pytest.mark.parametrize("overlay", sorted(path.name for path in (configs.FOLDER / "overlays").glob("*.yaml")))
def test_overlays_are_accepted(overlay: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = {"tiny_layers": "layer_index", "tiny_pair": "pair_aerialmd"}.get(Path(overlay).stem, "dit_microdoppler")
    with pytest.raises(SystemExit) as ended:
        main(["fit", f"--config={task}.yaml", f"--config=overlays/{overlay}", "--print_config"])
    assert ended.value.code in (None, 0)
    assert "class_path" in capsys.readouterr().out
