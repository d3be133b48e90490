"""``completion``: what a shell needs to complete commands, tools, options and names of configurations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from command_line.configs import shipped_names
from command_line.help import ALL, GROUPS
from command_line.loggers import KINDS
from command_line.short_names import GENERAL
from command_line.shortcuts import SHORTCUTS
from command_line.tasks import TOOL_GROUPS, Task, UsageError, parameters, short_name, summary, tool_targets
from formats.errors import InputError

SHELLS = ("bash", "zsh", "tcsh")
USAGE = """\
usage: trilight completion SHELL      (bash, zsh or tcsh)

  bash    trilight completion bash > ~/.local/share/bash-completion/completions/trilight
  zsh     trilight completion zsh > ~/.zfunc/_trilight      (with ~/.zfunc in fpath)
  tcsh    trilight completion tcsh >> ~/.cshrc"""
VALUES = {
    "--trainer.accelerator": ("auto", "cpu", "gpu"),
    "--trainer.precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
    "--logger": (*KINDS, "none"),
}
SHORT_VALUES = {"FILE": "FILE", "FOLDER": "DIRECTORY"}


def run_completion(tasks: Sequence[Task], words: Sequence[str]) -> None:
    """Print the script for a shell.

    Args:
        tasks: All tasks.
        words: Words after ``completion``.

    Raises:
        InputError: shtab is not installed.
        UsageError: There is no script for this shell.
    """
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return
    if list(words) not in [[shell] for shell in SHELLS]:
        raise UsageError("completion", f"cannot complete in {' '.join(words)}", f"Choose from {', '.join(SHELLS)}.")
    try:
        import shtab
    except ImportError as error:
        remedy = "Install it with `pip install 'trilight[completion]'`."
        raise InputError("completion", "needs shtab, which is not installed", remedy) from error
    print(shtab.complete(argument_parser(tasks, shtab), words[0]))


def argument_parser(tasks: Sequence[Task], shtab: Any) -> argparse.ArgumentParser:
    """Return a parser with the words that are completed; it parses nothing.

    Args:
        tasks: All tasks.
        shtab: The module, whose ``FILE`` and ``DIRECTORY`` say what a value is.
    """
    parser = argparse.ArgumentParser("trilight", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="show the version")
    commands = parser.add_subparsers()
    for command in ALL:
        _add_training_options(
            commands.add_parser(command, help=f"{command} with a configuration"), tasks, command, shtab
        )
    for group in TOOL_GROUPS:
        tools = commands.add_parser(group, help="data tools" if group == "prepare" else "whole jobs").add_subparsers()
        for name, target in tool_targets(tasks, group).items():
            tool = tools.add_parser(name, help=_plain(summary(target)))
            for parameter in parameters(target):
                _set_complete(tool.add_argument(f"--{parameter}"), shtab.FILE)
    names = commands.add_parser("configs", help="list the shipped configurations").add_subparsers()
    names.add_parser("list", help="list them")
    names.add_parser("copy", help="copy one to edit").add_argument("name", choices=shipped_names())
    for name, shortcut in SHORTCUTS.items():
        short = commands.add_parser(name, help=_plain(shortcut.about))
        _set_complete(short.add_argument("words", nargs="*"), shtab.FILE)
    commands.add_parser("completion", help="complete words in a shell").add_argument("shell", choices=SHELLS)
    return parser


def _add_training_options(parser: argparse.ArgumentParser, tasks: Sequence[Task], command: str, shtab: Any) -> None:
    classes = {
        "--model": [short_name(target) for task in tasks for target in task.modules],
        "--data": [short_name(target) for task in tasks for target in task.datamodules],
    }
    for option, names in classes.items():
        parser.add_argument(option, choices=names)
    shown = set(classes)
    for each in (option for group in GROUPS.values() for option in group if command in option.commands):
        option, _, value = each.name.partition(" ")
        shown.add(option)
        added = parser.add_argument(option, choices=VALUES.get(option), help=_plain(each.about))
        if value.split() and value.split()[0] in SHORT_VALUES:
            _set_complete(added, getattr(shtab, SHORT_VALUES[value.split()[0]]))
    for name in GENERAL[command]:
        if f"--{name}" not in shown:
            _set_complete(parser.add_argument(f"--{name}"), shtab.FILE)
    for flag in ("--help-all", "--print_config"):
        parser.add_argument(flag, action="store_true")


def _set_complete(action: argparse.Action, kind: Any) -> None:
    action.complete = kind  # type: ignore[attr-defined]  # how shtab is told


def _plain(text: str) -> str:
    """Return a help text without characters that argparse or shells expand."""
    return text.replace("%", "%%").replace("`", "")
