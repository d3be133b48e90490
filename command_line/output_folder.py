"""One folder for everything that a command writes: ``--output_dir``."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

HELP = (
    "Folder for everything that the command writes: logs and checkpoints (in version_0, version_1, ...), or what "
    "predict makes. null keeps the folders of the configuration."
)
NAMED_BY_FOLDER = ("CSVLogger", "TensorBoardLogger")  # they write to save_dir/name/version


def place_outputs(settings: Namespace, folder: str) -> None:
    """Set the folders of trainer, loggers, checkpoints and results in the settings of a command."""
    trainer = settings.trainer
    trainer.default_root_dir = folder
    for logger in _parts(trainer.logger):
        arguments = logger.init_args
        if "save_dir" in arguments:
            arguments.save_dir = folder
        if logger.class_path.rpartition(".")[2] in NAMED_BY_FOLDER:
            arguments.name = ""
    for callback in _parts(trainer.callbacks):
        if "dirpath" in callback.get("init_args", {}):
            callback.init_args.dirpath = None  # the run's folder
    if "output_dir" in settings.data.get("init_args", {}):
        settings.data.init_args.output_dir = folder


def _parts(value: Any) -> list[Namespace]:
    """Return the classes that a setting of the trainer names."""
    found = value if isinstance(value, list) else [value]
    return [part for part in found if isinstance(part, Namespace) and "init_args" in part]
