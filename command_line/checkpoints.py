"""Settings stored in a checkpoint, which the user's settings override."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from command_line.allowed_classes import check_settings_of
from command_line.continuing import is_word
from command_line.settings import CONFIG_OPTIONS, Source, last_value, named_class
from command_line.tasks import Task, classes_by_name, load, short_name, task_of
from formats.errors import InputError
from formats.training_checkpoint import read_training_checkpoint

RESUMED = ("loops", "optimizer_states", "lr_schedulers", "epoch", "global_step")


def with_checkpoint_settings(
    args: Sequence[str], sources: Sequence[Source], tasks: Sequence[Task], packages: Sequence[str] = ()
) -> list[str]:
    """Insert the module settings stored in the checkpoint ahead of all others, which then override them.

    The architecture, stored as ``network``, is also inserted after the configuration files: the weights fit no other
    architecture, and a configuration shared by many checkpoints specifies the full size.

    Args:
        args: Arguments after the command.
        sources: The settings in these arguments.
        tasks: All tasks.
        packages: Packages whose classes the user allows a checkpoint to name.

    Raises:
        InputError: The checkpoint is missing, cannot be read, names a class that is not allowed, or belongs to another
            module.
    """
    path = last_value(sources, "ckpt_path")
    if path is None or is_word(path):  # words are resolved when the configuration is known
        return list(args)
    class_path, settings = read_settings(Path(str(path)))
    if class_path is None:
        return list(args)
    named = named_class(sources, "model")
    is_alternative = _interchangeable(class_path, named, tasks)
    if not is_alternative:
        check_same_module(Path(str(path)), class_path, named, tasks)
    check_settings_of({"model": {"class_path": class_path, "init_args": settings}}, str(path), tasks, packages)
    settings = _known_settings(Path(str(path)), class_path, settings, tasks)
    stored = {"model": {"class_path": class_path, "init_args": settings}}
    if is_alternative:  # the checkpoint's module replaces that of the configuration files
        words = list(args)
        end = end_of_configs(words)
        return [*words[:end], "--config", yaml.safe_dump(stored), *words[end:]]
    words = ["--config", yaml.safe_dump(stored), *args]
    if "network" in settings:
        network = {"model": {"init_args": {"network": settings["network"]}}}
        end = end_of_configs(words)
        words[end:end] = ["--config", yaml.safe_dump(network)]
    return words


def _known_settings(path: Path, class_path: str, settings: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
    """Leave out settings that the module no longer has, and name them."""
    target = classes_by_name(tasks).get(class_path.rpartition(".")[2])
    if target is None or target.replace(":", ".") != class_path:
        return dict(settings)
    parameters = inspect.signature(load(target)).parameters
    unknown = [name for name in settings if name not in parameters]
    if unknown:
        line = f"{path}: its settings {', '.join(unknown)} are of another version of {short_name(target)} and left out"
        print(line, file=sys.stderr)
    return {name: value for name, value in settings.items() if name in parameters}


def read_settings(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Read the class path and the settings of the module that a checkpoint holds.

    Raises:
        InputError: The file is missing, damaged or not a training checkpoint.
    """
    settings = dict(read_training_checkpoint(path).get("hyper_parameters", {}))
    settings.pop("_instantiator", None)
    return settings.pop("_class_path", None), settings


def check_resumable(path: Path) -> None:
    """Check that training can go on from a checkpoint, rather than start again with its weights.

    Raises:
        InputError: It holds no progress of loops, optimisers or schedules.
    """
    missing = [name for name in RESUMED if name not in read_training_checkpoint(path)]
    if missing:
        remedy = "Name a checkpoint that `fit` wrote, without save_weights_only."
        raise InputError(path, f"holds no {', '.join(missing)}, so that training cannot go on from it", remedy)


def check_same_module(path: Path, stored: str, asked: str | None, tasks: Sequence[Task]) -> None:
    """Check that the command and the checkpoint use the same module.

    Args:
        path: The checkpoint.
        stored: Class path in the checkpoint.
        asked: Class path in the command's settings.
        tasks: All tasks; classes that belong to none of them are not checked.

    Raises:
        InputError: They use different modules.
    """
    names = [part.rpartition(".")[2] for part in (stored, asked or stored)]
    of_checkpoint, of_command = (task_of(tasks, name) for name in names)
    if of_checkpoint is None or of_command is None or names[0] == names[1]:
        return
    fault = (
        f"this checkpoint is of the {of_checkpoint.title} task ({names[0]}); "
        f"the command is for the {of_command.title} task ({names[1]})"
    )
    raise InputError(path, fault, f"Use a configuration of {names[0]}, or a checkpoint of {names[1]}.")


def _interchangeable(stored: str, asked: str | None, tasks: Sequence[Task]) -> bool:
    """Return whether two different modules do the same job."""
    names = {part.rpartition(".")[2] for part in (stored, asked or stored)}
    return len(names) == 2 and any(
        task.interchangeable and names <= set(map(short_name, task.modules)) for task in tasks
    )


def end_of_configs(words: Sequence[str]) -> int:
    """Return the position after the last configuration file; 0 where there is none."""
    ends = [position + 2 for position, (word, _) in enumerate(itertools.pairwise(words)) if word in CONFIG_OPTIONS]
    ends += [position + 1 for position, word in enumerate(words) if word.startswith("--config=")]
    return max(ends, default=0)
