"""Checks of class and option names against the classes themselves, before the parser reads a command line.

The parser's own messages about a wrong argument enumerate every type that did not match. After it has refused a
command line, :func:`refuse_wrong_value` tries each value separately and names the one at fault.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning
import lightning.pytorch.callbacks
import lightning.pytorch.loggers
from lightning import Callback
from lightning.pytorch.loggers import Logger

from command_line.arguments import Argument, check_name, check_value, type_hints
from command_line.settings import ClassSettings, Source, class_settings, listed_classes, named_class
from command_line.short_names import GENERAL
from command_line.suggestions import nearest, suggestion
from command_line.tasks import SHARED_CALLBACKS, Task, UsageError, classes_by_name, load, short_name
from command_line.trainer import Trainer

LISTED: dict[str, tuple[Any, type]] = {
    "callbacks": (lightning.pytorch.callbacks, Callback),
    "logger": (lightning.pytorch.loggers, Logger),
}

# Options and keys of a configuration file at the top level.
TOP_LEVEL = (
    "model",
    "data",
    "trainer",
    "seed_everything",
    "ckpt_path",
    "output_dir",
    "num_threads",
    "logger",
    "config",
    "print_config",
    "help",
    "help-all",
    "verbose",
    "weights_only",
    "return_predictions",
)


def check_names(sources: Sequence[Source], tasks: Sequence[Task]) -> None:
    """Check the names of classes and options.

    Raises:
        UsageError: A class does not exist, or does not take an option; similar names are suggested.
    """
    _check_top_level(sources)
    for argument in given_arguments(sources, tasks):
        check_name(argument)


def _check_top_level(sources: Sequence[Source]) -> None:
    """Suggest what a misspelt group or option means; names without a similar one are left to the parser."""
    known = {*TOP_LEVEL, *(name for names in GENERAL.values() for name in names)}
    for source in sources:
        for key in source.settings:
            near = nearest(str(key), known)
            if key in known or near is None:
                continue
            if not source.name.startswith(f"--{key}"):  # a file, or --config with YAML
                raise UsageError(source.name, f"there is no setting '{key}'", f"Did you mean '{near}'?")
            rest = source.name.removeprefix(f"--{key}")
            raise UsageError(source.name, "there is no such option", f"Did you mean '--{near}{rest}'?")


def refuse_wrong_value(sources: Sequence[Source], tasks: Sequence[Task]) -> None:
    """Find the value that made the parser refuse the command line.

    Raises:
        UsageError: A value does not fit its option. If nothing is raised, something else is wrong.
    """
    for argument in given_arguments(sources, tasks):
        check_value(argument)
    for source in sources:
        for name in ("num_threads", "output_dir", "seed_everything"):
            if name in source.settings:
                check_value(Argument(f"--{name}", _top_level, name, source.settings[name]))


def _top_level(num_threads: int | None, output_dir: str | None, seed_everything: bool | int) -> None:
    """Hold the types of options that belong to no class."""


def given_arguments(sources: Sequence[Source], tasks: Sequence[Task]) -> Iterator[Argument]:
    """Yield the arguments given to the trainer, the module, the datamodule, and listed callbacks and loggers.

    Raises:
        UsageError: A named class does not exist.
    """
    known = classes_by_name(tasks)
    for key, group in (("model", "modules"), ("data", "datamodules")):
        own = {short_name(target) for task in tasks for target in getattr(task, group)}
        owner = _resolve(named_class(sources, key), f"--{key}", known, own)
        for part in filter(None, (class_settings(source, key) for source in sources)):
            same = part.class_path is None or _resolve(part.class_path, part.option, known, own) is owner
            yield from _arguments(part, owner if same else None)
    callbacks = {short_name(target) for target in SHARED_CALLBACKS}
    callbacks |= {short_name(target) for task in tasks for target in task.callbacks}
    latest: dict[str, Any] = {}
    for source in sources:
        trainer = source.settings.get("trainer")
        if isinstance(trainer, Mapping):
            for name, value in trainer.items():
                if name in LISTED:
                    continue
                owner = Trainer if name in type_hints(Trainer) else lightning.Trainer
                yield Argument(f"--trainer.{name}", owner, name, value)
        for key, (package, base) in LISTED.items():
            own = {name for name, part in vars(package).items() if inspect.isclass(part) and issubclass(part, base)}
            own |= callbacks if base is Callback else set()
            for part in listed_classes(source, key):
                if part.class_path is not None:
                    latest[key] = _resolve(part.class_path, part.option, known, own, package)
                yield from _arguments(part, latest.get(key))


def _resolve(path: str | None, option: str, known: Mapping[str, str], choices: set[str], package: Any = None) -> Any:
    """Return the class of a path; None if the class is neither ours nor Lightning's."""
    if path is None:
        return None
    name = path.rpartition(".")[2]
    if name in choices and path in (name, known.get(name, name).replace(":", ".")):
        return load(known[name]) if name in known else getattr(package, name)
    if path == name:
        raise UsageError(option, f"unknown class {name}", suggestion(name, sorted(choices), "Choose from"))
    return None


def _arguments(part: ClassSettings, owner: Any) -> Iterator[Argument]:
    """Yield a class's arguments; those of a dataclass, such as a network's settings, one by one."""
    if owner is None:
        return
    hints = type_hints(owner)
    for name, value in part.init_args.items():
        if isinstance(value, Mapping) and dataclasses.is_dataclass(hints.get(name)):
            yield from _arguments(ClassSettings(f"{part.option}.{name}", None, value), hints[name])
        else:
            yield Argument(f"{part.option}.{name}", owner, name, value)
