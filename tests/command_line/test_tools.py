"""Tools: functions whose parameters are the options."""

from pathlib import Path

import pytest

from command_line.tasks import Task, UsageError
from command_line.tools import expand_options, run_tool, tools_help

CALLS: list[tuple[Path, list[int] | None, bool, int]] = []


def toy_tool(out: Path, ids: list[int] | None = None, dry_run: bool = False, size: int = 3) -> None:
    """Do next to nothing.

    Args:
        out: Folder.
        ids: Numbers.
        dry_run: Whether to do less.
        size: Size.
    """
    CALLS.append((out, ids, dry_run, size))


TASKS = [Task("toy", prepare=(f"{__name__}:toy_tool",))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--out=a"], (Path("a"), None, False, 3)),
        (["--ids", "1", "2", "--out", "a"], (Path("a"), [1, 2], False, 3)),
        (["--out", "a", "--ids", "[1, 2]", "--dry_run"], (Path("a"), [1, 2], True, 3)),
        (["--out", "a", "--dry_run", "false", "--size=4"], (Path("a"), None, False, 4)),
        (["--out", "a", "--dry_run", "--ids", "7"], (Path("a"), [7], True, 3)),
    ],
)
def test_options_reach_the_function(words: list[str], expected: tuple[object, ...]) -> None:
    CALLS.clear()
    run_tool(TASKS, "prepare", ["toy-tool", *words])
    assert [expected] == CALLS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["toy"], "prepare: unknown command 'toy'. Choose from toy-tool"),
        (["toy-tool", "--outt=a"], "--outt: toy_tool does not take this option. Did you mean 'out'?"),
        (["toy-tool", "--out=a", "--size", "big"], "--size: 'big' is not a valid value. Give a value of type int."),
        (["toy-tool", "--out=1", "--size", "2.5"], "--size: 2.5 is not a valid value"),
        (["toy-tool", "--out=a", "--ids", "1", "x"], r"--ids: \[1, 'x'\] is not a valid value"),
        (["toy-tool"], "prepare toy-tool: .*required.*out. See `python cli.py prepare toy-tool --help`"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_tool(TASKS, "prepare", words)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"]):
        run_tool(TASKS, "prepare", words)
        assert "toy-tool  Do next to nothing." in capsys.readouterr().out
    assert "python cli.py prepare TOOL" in tools_help(TASKS, "prepare")
    with pytest.raises(SystemExit):
        run_tool(TASKS, "prepare", ["toy-tool", "--help"])
    assert "--dry_run" in capsys.readouterr().out


def test_options_without_values_are_left_alone() -> None:
    assert expand_options(["--size", "3", "--out=a"], {"size": int}) == ["--size", "3", "--out=a"]
