"""The tools of ``prepare`` and ``pipeline``: plain functions, whose parameters are the options."""

from __future__ import annotations

import functools
import inspect
import itertools
import typing
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, auto_cli

from command_line.allowed_classes import enforce_none
from command_line.arguments import Argument, check_name, check_value
from command_line.messages import shortened
from command_line.settings import read_sources
from command_line.short_names import yaml_list
from command_line.tasks import Task, UsageError, load_tool, summary, tool_targets
from formats.folder_lock import locked

OUTPUTS = ("out", "output_dir", "output_root")  # parameters of tools that name a folder or file


def run_tool(tasks: Sequence[Task], group: str, args: Sequence[str]) -> None:
    """Run a tool.

    Args:
        tasks: All tasks.
        group: ``prepare`` or ``pipeline``.
        args: The tool's name and options.

    Raises:
        UsageError: The tool does not exist, or its options are wrong.
        SystemExit: Help was requested.
    """
    if not args or args[0] in ("-h", "--help"):
        print(tools_help(tasks, group))
        return
    enforce_none()
    name, tool = args[0], load_tool(tasks, group, args[0])
    types = typing.get_type_hints(tool)
    words = expand_options(join_configs(args[1:]) if "configs" in types else args[1:], types)
    try:
        auto_cli(
            {name: _holding_folders(tool)},
            args=[name, *words],
            prog=f"cli.py {group}",
            as_positional=False,
            exit_on_error=False,
            allow_abbrev=False,
        )
    except ArgumentError as fault:
        for source in read_sources(words):
            for option, value in source.settings.items():
                argument = Argument(f"--{option}", tool, option, value)
                check_name(argument)
                check_value(argument)
        remedy = f"See `python cli.py {group} {name} --help`."
        raise UsageError(f"{group} {name}", shortened(str(fault)), remedy) from fault


def _holding_folders(tool: Callable[..., None]) -> Callable[..., None]:
    """Return a tool that holds its output folder, so that a second process is refused."""

    @functools.wraps(tool)
    def holding(*args: Any, **kwargs: Any) -> None:
        arguments = inspect.signature(tool).bind(*args, **kwargs)
        arguments.apply_defaults()
        folders = [Path(value) for name, value in arguments.arguments.items() if name in OUTPUTS and value is not None]
        with ExitStack() as held:
            for folder in folders:
                if not folder.suffix:  # single files are replaced atomically
                    held.enter_context(locked(folder))
            tool(*args, **kwargs)

    return holding


def tools_help(tasks: Sequence[Task], group: str) -> str:
    """Return the list of a group's tools, each with the first line of its docstring."""
    targets = tool_targets(tasks, group)
    width = max(map(len, targets))
    lines = [f"  {name:{width}}  {summary(target)}" for name, target in targets.items()]
    return "\n".join([f"usage: python cli.py {group} TOOL [options]      (TOOL --help lists its options)", "", *lines])


def expand_options(args: Sequence[str], types: dict[str, object]) -> list[str]:
    """Rewrite flags and lists as the parser expects them.

    Args:
        args: Options; a flag may have no value, and a list may be several words.
        types: Type of each option.

    Example:
        >>> expand_options(["--flag", "--ids", "1", "2"], {"flag": bool, "ids": list[int] | None})
        ['--flag=true', '--ids', '[1, 2]']
    """
    expanded: list[str] = []
    values: list[str] | None = None
    for word, following in itertools.pairwise([*args, "--", "--"]):
        if values is not None and not word.startswith("--"):
            values.append(word)
            continue
        if values is not None:
            is_list = len(values) == 1 and values[0].startswith("[")
            expanded.append(values[0] if is_list else yaml_list(values))
        kind = types.get(word.removeprefix("--"))
        is_flag = kind is bool or bool in typing.get_args(kind)
        expanded.append(f"{word}=true" if is_flag and following.startswith("--") else word)
        values = [] if _is_list(kind) else None
    return expanded[:-1]


def join_configs(args: Sequence[str]) -> list[str]:
    """Join all ``--config FILE`` to one list ``--configs``, since the parser uses ``--config`` itself.

    Example:
        >>> join_configs(["--config", "a.yaml", "--limit=3", "--config=b.yaml"])
        ['--limit=3', '--configs', 'a.yaml', 'b.yaml']
    """
    words, files, takes_file = list[str](), list[str](), False
    for word in args:
        if word == "--config" or word.startswith("--config="):
            files += [word.removeprefix("--config=")] if "=" in word else []
            takes_file = True
        elif takes_file and not word.startswith("--"):
            files.append(word)
        else:
            takes_file = False
            words.append(word)
    return [*words, "--configs", *files] if files else words


def _is_list(kind: object) -> bool:
    return typing.get_origin(kind) is list or any(typing.get_origin(part) is list for part in typing.get_args(kind))
