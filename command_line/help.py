"""Help of ``fit``, ``validate``, ``test`` and ``predict``: the options that people change first, without PyTorch."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from command_line.allowed_classes import OPTION as ALLOW_CLASSES
from command_line.short_names import short_names_help
from command_line.tasks import Task, short_name

WIDTH = 110
ALL = ("fit", "validate", "test", "predict")
MEASURED = ("fit", "validate", "test")


@dataclass(frozen=True)
class Option:
    """An option in the help.

    Attributes:
        name: The option with its value.
        about: What it does.
        commands: Commands whose help shows it.
    """

    name: str
    about: str
    commands: tuple[str, ...] = ("fit",)


GROUPS: Mapping[str, tuple[Option, ...]] = {
    "experiment": (
        Option("--config FILE", "configuration, your own or shipped (`configs` lists them); may be repeated", ALL),
        Option("--ckpt_path FILE", "checkpoint to go on from or to use; or last, best", ALL),
        Option("--model.published_checkpoint FILE", "published weights to start from"),
        Option("--seed_everything N", "seed of everything random", ALL),
        Option("--output_dir FOLDER", "folder of everything that is written", ALL),
    ),
    "data": (
        Option("--data.data_dir FOLDER", "folder of the data", MEASURED),
        Option("--data.images FILE …", "images, for layers and for depth", ("predict",)),
        Option("--data.user_ids N …", "users, for spectrograms", ("predict",)),
        Option("--data.batch_size N", "samples per device and step", ALL),
        Option("--data.num_workers N", "processes that read data", ALL),
    ),
    "training": (
        Option("--trainer.max_epochs N", "passes over the training data"),
        Option("--trainer.max_time DD:HH:MM:SS", "time after which training stops"),
        Option("--model.learning_rate X", "peak learning rate (layers: decoder_learning_rate, encoder_learning_rate)"),
        Option("--trainer.accumulate_grad_batches N", "batches per optimiser step, for larger batches in less memory"),
        Option("--trainer.limit_train_batches N", "training batches per epoch, or a share of them; for a quick try"),
        Option("--trainer.check_val_every_n_epoch N", "epochs between validations"),
    ),
    "logs": (
        Option("--logger NAME,…", "csv, tensorboard, wandb or none", ALL),
        Option("--trainer.log_every_n_steps N", "steps between logged values"),
    ),
    "machine": (
        Option("--trainer.devices N", "GPUs or processes, or auto", ALL),
        Option("--trainer.accelerator NAME", "cpu, gpu or auto", ALL),
        Option("--trainer.precision NAME", "auto, 32-true, bf16-mixed, 16-mixed, …", ALL),
        Option("--num_threads N", "CPU threads; by default as many as there are free cores", ALL),
    ),
}


def command_help(tasks: Sequence[Task], command: str) -> str:
    """Return the help of a command.

    Args:
        tasks: All tasks.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
    """
    lines = [f"usage: python cli.py {command} --config FILE [options]", ""]
    for title, options in GROUPS.items():
        shown = [option for option in options if command in option.commands]
        if shown:
            lines += [f"{title}:", *(f"  {option.name:<38}{option.about}" for option in shown), ""]
    lines += [
        "--help-all lists all options; --model.help CLASS and --data.help CLASS those of a class.",
        "--print_config shows the complete configuration with comments.",
        "",
    ]
    for text in (*class_lines(tasks), short_names_help(command)):
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)


def class_lines(tasks: Sequence[Task]) -> list[str]:
    """Return the classes of all tasks, a line per option that names them."""
    groups: Mapping[str, str] = {"--model": "modules", "--data": "datamodules", "--trainer.callbacks": "callbacks"}
    lines = []
    for option, group in groups.items():
        names = [short_name(target) for task in tasks for target in getattr(task, group)]
        lines.append(f"{option}: {', '.join(names)}.")
    return [
        *lines,
        f"{ALLOW_CLASSES} PACKAGE: also import classes of PACKAGE that a configuration or checkpoint names.",
    ]
