"""Help of the training commands."""

import inspect

import lightning
import pytest

from cli import TASKS, main
from command_line.arguments import type_hints
from command_line.checks import TOP_LEVEL
from command_line.help import ALL, GROUPS, command_help
from command_line.tasks import load
from command_line.trainer import Trainer


def options() -> list[str]:
    return [option.name.split()[0].removeprefix("--") for group in GROUPS.values() for option in group]


def test_fit_shows_the_twenty_settings_that_people_change_first(capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--config", "dit_microdoppler.yaml", "--help"])
    text = capsys.readouterr().out
    shown = [line.split()[0] for line in text.partition("--help-all")[0].splitlines() if "  --" in line]
    assert len(shown) == len(set(shown)) == 20
    for title in ("experiment:", "data:", "training:", "logs:", "machine:", "--help-all", "UserConditionedDiTModule"):
        assert title in text


@pytest.mark.parametrize("command", ALL)
def test_help_fits_a_screen(command: str) -> None:
    text = command_help(TASKS, command)
    assert all(len(line) <= 130 for line in text.splitlines())
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("option", options())
def test_options_of_the_help_exist(option: str) -> None:
    group, _, name = option.partition(".")
    if not name:
        assert option in TOP_LEVEL
    elif group == "trainer":
        assert name in type_hints(Trainer) or name in inspect.signature(lightning.Trainer).parameters
    else:
        kinds = [load(target) for task in TASKS for target in (task.modules if group == "model" else task.datamodules)]
        assert any(name in inspect.signature(kind).parameters for kind in kinds)
