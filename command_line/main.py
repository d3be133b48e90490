"""One command of the command line, from its arguments to the exit status."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from command_line.shortcuts import SHORTCUTS, expand_shortcut
from command_line.suggestions import suggestion
from command_line.tasks import TOOL_GROUPS, Task, UsageError, tool_targets
from formats.disk_faults import disk_fault
from formats.errors import InputError
from formats.optional import missing_package

LIGHTNING_COMMANDS = ("fit", "validate", "test", "predict")


def help_text(tasks: Sequence[Task]) -> str:
    """Return the help of the whole command line."""
    tools = {group: ", ".join(tool_targets(tasks, group)) for group in TOOL_GROUPS}
    short = "\n".join(f"  {f'{name} {part.usage}':<21}{part.about}" for name, part in SHORTCUTS.items())
    return f"""\
usage: python cli.py COMMAND [options]      (COMMAND --help lists its options)

  fit        train            python cli.py fit --config configs/dit_microdoppler.yaml
  validate   losses and metrics on the validation split
  test       the task's full evaluation, as a table and JSON
  predict    write the task's results from a checkpoint
  prepare    data tools: {tools["prepare"]}
  pipeline   whole jobs: {tools["pipeline"]}
  configs    list the shipped configurations; `configs copy NAME` copies one to edit
  weights    list published weights by name (hf://…), and those of the repository
  app        one local page for the three tasks
  completion words that a shell completes: bash, zsh, tcsh

Results at once, with the weights of the repository (options of `predict` may follow):
{short}

--config may be given several times; later files override earlier ones, and options such as
--trainer.max_epochs 10 override files. --print_config shows the complete configuration with comments.
--version shows the version."""


def run_command(tasks: Sequence[Task], args: Sequence[str]) -> None:
    """Run one command; PyTorch is imported only by commands that need it.

    Args:
        tasks: All tasks.
        args: Arguments after the program's name.

    Raises:
        InputError: A setting, file or folder cannot be used.
        SystemExit: The help of a command was requested.
    """
    try:
        _run(tasks, args)
    except (OSError, RuntimeError) as fault:
        explained = disk_fault(fault, Path.cwd())
        if explained is None:
            raise
        raise explained from fault
    except ModuleNotFoundError as fault:
        explained = missing_package(fault)
        if explained is None:
            raise
        raise explained from fault


def _run(tasks: Sequence[Task], args: Sequence[str]) -> None:
    args = expand_shortcut(args)
    if not args or args[0] in ("-h", "--help"):
        print(help_text(tasks))
    elif args[0] == "--version":
        print(importlib.metadata.version("trilight"))
    elif args[0] in TOOL_GROUPS:
        from command_line.tools import run_tool

        run_tool(tasks, args[0], args[1:])
    elif args[0] == "configs":
        from command_line.configs import run_configs

        run_configs(args[1:])
    elif args[0] == "completion":
        from command_line.completion import run_completion

        run_completion(tasks, args[1:])
    elif args[0] in LIGHTNING_COMMANDS and not {"-h", "--help"}.isdisjoint(args):
        from command_line.help import command_help

        print(command_help(tasks, args[0]))
    elif args[0] == "weights":
        from command_line.weights import run_weights

        run_weights(args[1:])
    elif args[0] == "app":
        from command_line.app import run_app

        run_app(lambda words: _run(tasks, words), args[1:])
    elif args[0] in LIGHTNING_COMMANDS:
        from command_line.lightning_cli import run_lightning

        run_lightning(tasks, args)
    else:
        commands = [*LIGHTNING_COMMANDS, *TOOL_GROUPS, "configs", "weights", "app", "completion", *SHORTCUTS]
        raise UsageError("cli.py", f"unknown command '{args[0]}'", suggestion(args[0], commands, "Choose from"))


def exit_with_message(command: Callable[[], None]) -> None:
    """Run a command; a user error ends in one line and exit status 1, or 2 for a wrong option.

    SIGTERM and SIGHUP end a command as an exception does, so that it removes its temporary files; the exit status is
    128 plus the signal's number, also on Ctrl-C. Where the reader of the output is gone (``| head``), the command ends
    quietly, as other programs do.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _exit)
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        sys.exit(128 + signal.SIGPIPE)
    except InputError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2 if isinstance(mistake, UsageError) else 1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning exits with 1
            sys.exit(128 + signal.SIGINT)
        raise


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
