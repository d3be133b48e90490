"""Tasks of the command line: classes and tools by name, imported when they are used."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command_line.suggestions import suggestion
from formats.errors import InputError

TOOL_GROUPS = ("prepare", "pipeline")
SHARED_CALLBACKS = ("callbacks.last_checkpoint:LastCheckpoint",)  # of all tasks


class UsageError(InputError):
    """Error for a command line that names something that does not exist; the exit status is 2."""


@dataclass(frozen=True)
class Task:
    """A research task: its classes and tools, as import strings ``package.module:name``.

    Attributes:
        title: Name of the task in help and error messages.
        modules: LightningModules.
        datamodules: LightningDataModules.
        callbacks: Callbacks.
        prepare: Functions behind ``prepare``; the command is the function's name with hyphens.
        pipeline: Functions behind ``pipeline``, likewise.
        interchangeable: Whether the modules do the same job, so that a checkpoint decides which of them runs.
    """

    title: str
    modules: tuple[str, ...] = ()
    datamodules: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    pipeline: tuple[str, ...] = ()
    interchangeable: bool = False

    def classes(self) -> tuple[str, ...]:
        """Import strings of all classes that YAML files and options name."""
        return (*self.modules, *self.datamodules, *self.callbacks)


def short_name(target: str) -> str:
    """Return the class or function name of an import string.

    Example:
        >>> short_name("lightning_modules.layer_index:LayerIndexModule")
        'LayerIndexModule'
    """
    return target.partition(":")[2]


def load(target: str) -> Any:
    """Import what an import string names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def classes_by_name(tasks: Iterable[Task]) -> dict[str, str]:
    """Map short class names to import strings."""
    targets = [*SHARED_CALLBACKS, *(target for task in tasks for target in task.classes())]
    return {short_name(target): target for target in targets}


def import_named_classes(tasks: Iterable[Task], texts: Iterable[str]) -> None:
    """Import the tasks' classes that texts mention, so that the parser finds them by their short names.

    Args:
        tasks: All tasks.
        texts: Command-line arguments and contents of configuration files.
    """
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    for name, target in classes_by_name(tasks).items():
        if name in words:
            load(target)


def task_of(tasks: Iterable[Task], class_name: str) -> Task | None:
    """Return the task that a class belongs to, by its short name."""
    for task in tasks:
        if class_name in map(short_name, task.classes()):
            return task
    return None


def tool_targets(tasks: Iterable[Task], group: str) -> dict[str, str]:
    """Map the commands of a tool group, ``prepare`` or ``pipeline``, to import strings."""
    targets: Sequence[str] = [target for task in tasks for target in getattr(task, group)]
    return {short_name(target).replace("_", "-"): target for target in targets}


def load_tool(tasks: Iterable[Task], group: str, command: str) -> Callable[..., None]:
    """Import the function behind a tool.

    Raises:
        UsageError: The tool does not exist.
    """
    targets = tool_targets(tasks, group)
    if command not in targets:
        raise UsageError(group, f"unknown command '{command}'", suggestion(command, targets, "Choose from"))
    tool: Callable[..., None] = load(targets[command])
    return tool


def summary(target: str) -> str:
    """Return the first line of a function's docstring without importing its module."""
    return (ast.get_docstring(_definition(target)) or "").partition("\n")[0]


def parameters(target: str) -> list[str]:
    """Return the names of a function's parameters without importing its module."""
    arguments = _definition(target).args
    return [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]


def _definition(target: str) -> ast.FunctionDef:
    module, _, name = target.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise AttributeError(f"{module} has no function {name}")
