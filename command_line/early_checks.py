"""Checks of files that settings name, before the model is built: a large network takes a minute."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jsonargparse import Namespace

from command_line.tasks import Task, classes_by_name, load
from formats.hub_files import local_file
from formats.local_files import require_file

WEIGHTS = ("published_checkpoint", "init_from")  # settings of modules that name files


@runtime_checkable
class ChecksFiles(Protocol):
    """Datamodule that checks its files without a trainer."""

    def check_files(self, stage: str) -> None:
        """Check the files that a stage needs."""


def check_files(settings: Namespace, command: str, tasks: Sequence[Task], ckpt_path: str | None) -> None:
    """Check that data and weights exist.

    Args:
        settings: The command's parsed settings.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        tasks: All tasks; only their datamodules are checked here, others when they are set up.
        ckpt_path: The training checkpoint, with which the files that training started from are not needed.

    Raises:
        InputError: Files are missing, or a setting of the datamodule cannot be used.
    """
    if "LOCAL_RANK" in os.environ:  # the first process has checked
        return
    model = settings.get("model")
    arguments = model.get("init_args") if isinstance(model, Namespace) else None
    for name in WEIGHTS:
        path = arguments.get(name) if arguments is not None else None
        if isinstance(path, str) and ckpt_path is None:
            require_file(local_file(path), f"Name the file with --model.{name}.")
    data = settings.get("data")
    class_path = str(data.get("class_path")) if isinstance(data, Namespace) else ""
    target = classes_by_name(tasks).get(class_path.rpartition(".")[2])
    if target is None:
        return
    kind = load(target)
    if issubclass(kind, ChecksFiles):
        kind(**(data.as_dict().get("init_args") or {})).check_files(command)
