"""Loggers by short names (``--logger csv,tensorboard,wandb``), and names of W&B runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from jsonargparse import Namespace

from command_line.settings import listed_classes, read_sources
from command_line.suggestions import suggestion
from command_line.tasks import Task, UsageError, task_of

OPTION = "--logger"
KINDS = {"csv": "CSVLogger", "tensorboard": "TensorBoardLogger", "wandb": "WandbLogger"}  # the first keeps the folder
WIDTHS = ("hidden_size", "embed_dim", "width")  # settings of networks


def with_loggers(args: Sequence[str]) -> list[str]:
    """Replace ``--logger NAMES`` with the loggers of these names, in the folders of the configuration.

    Loggers that the configuration names keep their settings.

    Args:
        args: Arguments after the command; configuration files are paths.

    Raises:
        UsageError: There is no such logger.
    """
    words, chosen = _without_option(args)
    if chosen is None:
        return words
    if chosen in (["none"], ["false"]):
        return [*words, "--trainer.logger=false"]
    for name in chosen:
        if name not in KINDS:
            raise UsageError(OPTION, f"there is no logger '{name}'", suggestion(name, [*KINDS, "none"], "Choose from"))
    known: dict[str, Mapping[str, Any]] = {}
    root = "."
    for source in read_sources(words):
        trainer = source.settings.get("trainer")
        root = trainer.get("default_root_dir") or root if isinstance(trainer, Mapping) else root
        for part in listed_classes(source, "logger"):
            known[str(part.class_path).rpartition(".")[2]] = part.init_args
    folders = known.get("CSVLogger") or known.get("TensorBoardLogger") or {"save_dir": root, "name": ""}
    folder = {name: folders[name] for name in ("save_dir", "name") if name in folders}
    settings: dict[str, Mapping[str, Any]] = {
        "CSVLogger": known.get("CSVLogger", folder),
        "TensorBoardLogger": {"default_hp_metric": False, **known.get("TensorBoardLogger", folder)},
        "WandbLogger": known.get("WandbLogger", {"project": "trilight", "save_dir": root}),
    }
    loggers = [
        {"class_path": kind, "init_args": dict(settings[kind])} for name, kind in KINDS.items() if name in chosen
    ]
    return [*words, f"--trainer.logger={json.dumps(loggers)}"]


def _without_option(args: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the other words, and the names after the option."""
    words, remaining, chosen = list[str](), list(args), None
    while remaining:
        word = remaining.pop(0)
        option, has_value, value = word.partition("=")
        if option != OPTION:
            words.append(word)
            continue
        values = [value] if has_value else []
        while not has_value and remaining and not remaining[0].startswith("-"):
            values.append(remaining.pop(0))
        chosen = [name for part in values for name in part.strip("[]").replace(" ", "").lower().split(",") if name]
        if not chosen:
            raise UsageError(OPTION, "names no logger", f"Choose from {', '.join([*KINDS, 'none'])}.")
    return words, chosen


@contextmanager
def named_runs(settings: Namespace, tasks: Sequence[Task]) -> Iterator[None]:
    """Give W&B runs without a name one of task, size and time, while loggers are made; it is not recorded.

    Args:
        settings: Parsed settings of the command.
        tasks: All tasks.
    """
    loggers = settings.trainer.logger
    unnamed = [
        logger
        for logger in (loggers if isinstance(loggers, list) else [loggers])
        if isinstance(logger, Namespace)
        and str(logger.get("class_path")).endswith("WandbLogger")
        and not any(logger.init_args.get(name) for name in ("name", "id", "version"))
    ]
    for logger in unnamed:
        logger.init_args.name = run_name(settings, tasks, datetime.now())
    try:
        yield
    finally:
        for logger in unnamed:
            logger.init_args.name = None


def run_name(settings: Namespace, tasks: Sequence[Task], now: datetime) -> str:
    """Return the name of a run, such as ``micro-Doppler 28x1152 2026-05-01 14:30``."""
    model = settings.as_dict().get("model") or {}
    name = str(model.get("class_path")).rpartition(".")[2]
    task = task_of(tasks, name)
    size = _size((model.get("init_args") or {}).get("network") or {})
    return " ".join(part for part in (task.title if task else name, size, f"{now:%Y-%m-%d %H:%M}") if part)


def _size(network: Mapping[str, Any]) -> str:
    width = next((network[name] for name in WIDTHS if name in network), None)
    return f"{network['depth']}x{width}" if width and network.get("depth") else ""
