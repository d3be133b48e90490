"""Lightning's ``fit``, ``validate``, ``test`` and ``predict`` with this project's trainer, checkpoints and messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, Namespace
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from callbacks.resumed_settings import ResumedSettings
from callbacks.step_seed import StepSeed
from command_line.allowed_classes import REMEDY, URL, check_sources, denied_path, enforce, take_allowed_packages
from command_line.checkpoints import check_resumable, with_checkpoint_settings
from command_line.checks import check_names, refuse_wrong_value
from command_line.continuing import checkpoint_of_runs, is_word, undamaged
from command_line.early_checks import check_files
from command_line.help import class_lines
from command_line.loggers import named_runs, with_loggers
from command_line.messages import shortened
from command_line.out_of_memory import explained, memory_fault
from command_line.output_folder import HELP, place_outputs
from command_line.quiet import log_wandb_offline_without_account, silence_warnings
from command_line.restoring import explained_restoring
from command_line.settings import Source, last_value, read_sources, with_shipped_configs
from command_line.short_names import short_names_help, with_full_names
from command_line.tasks import Task, UsageError, import_named_classes
from command_line.threads import set_threads
from command_line.trainer import SaveConfig, Trainer
from formats.errors import InputError
from formats.folder_lock import locked
from formats.hub_files import local_file


class TrilightCLI(LightningCLI):
    """LightningCLI in which the user's settings override those stored in a checkpoint.

    Checkpoints are local files, which torch loads without running code (``weights_only=True``).
    """

    ckpt_path: str | None = None
    held: ExitStack  # of the locks
    tasks: Sequence[Task]
    words_with_checkpoint: Callable[[Path], list[str]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)
        except (RuntimeError, MemoryError) as fault:
            cause = memory_fault(fault)
            if cause is None:
                raise
            raise explained(cause, str(self.subcommand), self._settings()) from fault

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--num_threads`` and ``--output_dir``."""
        parser.add_argument("--output_dir", type=str | None, default=None, help=HELP)
        parser.add_argument(
            "--num_threads",
            type=int | None,
            default=None,
            help="CPU threads of PyTorch; null chooses by the number of idle cores, unless OMP_NUM_THREADS is set.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and set ``ckpt_path`` aside.

        LightningCLI would let the checkpoint's settings override the user's; they have already been merged.

        Raises:
            InputError: Code of a checkpoint would be run.
        """
        self.config = parser.parse_args(args)
        settings = self._settings()
        if settings.weights_only is False:
            remedy = "Leave it out: checkpoints of `fit` need no code."
            raise InputError("--weights_only", "false would run code that a checkpoint holds", remedy)
        name = str(settings.ckpt_path)
        if URL.match(name):  # Lightning would download it
            raise InputError("--ckpt_path", f"{name} is not a local file", "Name a .ckpt file.")
        self._place_outputs()
        if is_word(settings.ckpt_path):
            path = checkpoint_of_runs(settings.ckpt_path, settings.trainer)
            self.config = parser.parse_args([self.config.subcommand, *self.words_with_checkpoint(path)])
            settings = self._settings()
            self._place_outputs()
        settings.weights_only = True  # Lightning's default depends on where the file is
        self.ckpt_path, settings.ckpt_path = settings.ckpt_path, None

    def before_instantiate_classes(self) -> None:
        """Put ``ckpt_path`` back, for the trainer, and download weights to start from before a network is built.

        Raises:
            InputError: They are neither in the cache of the hub nor can be downloaded.
        """
        settings = self._settings()
        settings.ckpt_path = self.ckpt_path
        start: Any = (settings.get("model") or {}).get("init_args") or {}
        for name in ("published_checkpoint", "init_from"):
            if not self.ckpt_path and start.get(name):
                local_file(start[name])

    def instantiate_classes(self) -> None:
        """Instantiate the objects.

        Raises:
            InputError: A setting cannot be used; the parser would wrap this error in its own.
        """
        check_files(self._settings(), str(self.subcommand), self.tasks, self.ckpt_path)
        try:
            with named_runs(self._settings(), self.tasks):
                super().instantiate_classes()
        except ValueError as fault:
            cause: BaseException | None = fault
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                remedy = "Correct the setting."
                raise InputError(str(self.subcommand), shortened(str(fault)), remedy) from fault
            raise cause from None

    def after_instantiate_classes(self) -> None:
        """Choose the number of threads; processes that Lightning starts inherit it from the first."""
        if "LOCAL_RANK" not in os.environ:
            rank_zero_info(set_threads(self._settings().num_threads, self.trainer.num_devices))

    def before_fit(self) -> None:
        """Hold the run's folder."""
        trainer = self.trainer
        is_trial = getattr(trainer, "fast_dev_run", False)  # Lightning sets it without declaring it
        if not trainer.is_global_zero or is_trial:
            return
        if trainer.loggers and trainer.log_dir:  # loggers want an empty folder
            run = Path(trainer.log_dir)
            self.held.enter_context(locked(run.parent, f".{run.name}.lock"))
        else:
            self.held.enter_context(locked(Path(trainer.default_root_dir)))

    def before_predict(self) -> None:
        """Hold the folder of the results."""
        folder = getattr(self.datamodule, "output_dir", None)
        if self.trainer.is_global_zero and folder:
            self.held.enter_context(locked(Path(folder)))

    def _place_outputs(self) -> None:
        settings = self._settings()
        if settings.output_dir is not None:
            place_outputs(settings, settings.output_dir)

    def _settings(self) -> Namespace:
        settings: Namespace = self.config[self.config.subcommand]
        return settings


def run_lightning(tasks: Sequence[Task], args: Sequence[str]) -> None:
    """Run one of Lightning's commands.

    Args:
        tasks: All tasks.
        args: The command and its arguments.

    Raises:
        InputError: A class, option, value or checkpoint cannot be used.
        SystemExit: Help was requested.
    """
    own, packages = take_allowed_packages(args[1:])
    command = args[0]
    own = ["--help" if word == "--help-all" else word for word in own]
    words = with_full_names(command, with_loggers(with_shipped_configs(own)), tasks)
    sources = read_sources(words)
    check_sources(sources, tasks, packages)
    enforce(tasks, packages)
    import_named_classes(tasks, [source.text for source in sources])
    check_names(sources, tasks)
    path = last_value(sources, "ckpt_path")
    if command == "fit" and path is not None and not is_word(path):
        words = [*words, f"--ckpt_path={undamaged(Path(path))}"]
        sources = read_sources(words)
    asked = words
    words = with_checkpoint_settings(words, sources, tasks, packages)
    if command == "predict":
        from command_line.shipped import with_shipped_weights  # imports networks, which help does without

        words = with_shipped_weights(words, sources, tasks)
    words = ["--print_config=comments" if word == "--print_config" else word for word in words]
    log_wandb_offline_without_account()
    silence_warnings()
    checkpoint = last_value(sources, "ckpt_path")
    if command == "fit" and checkpoint is not None and not is_word(checkpoint):
        check_resumable(Path(checkpoint))

    def words_with_checkpoint(path: Path) -> list[str]:
        if command == "fit":
            check_resumable(path)
        named = [*asked, f"--ckpt_path={path}"]
        return with_checkpoint_settings(named, read_sources(named), tasks, packages)

    epilog = " ".join([*class_lines(tasks), short_names_help(command)])
    try:
        with ExitStack() as held, explained_restoring(checkpoint):
            _one_command(command, tasks, held, words_with_checkpoint)(
                LightningModule,
                LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                trainer_class=Trainer,
                trainer_defaults={"callbacks": [StepSeed(), ResumedSettings()]},
                save_config_callback=SaveConfig,
                save_config_kwargs={"overwrite": True},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                parser_kwargs={
                    "exit_on_error": False,
                    "allow_abbrev": False,
                    command: {"exit_on_error": False, "allow_abbrev": False, "epilog": epilog},
                },
                args=[command, *words],
            )
    except ArgumentError as fault:
        _explain(fault, sources, tasks, command)


def _one_command(
    command: str, known: Sequence[Task], locks: ExitStack, words_of_checkpoint: Callable[[Path], list[str]]
) -> type[TrilightCLI]:
    """Return the command line with one subcommand; the parsers of the others take time to build."""

    class OneCommand(TrilightCLI):
        held = locks
        tasks = known
        words_with_checkpoint = staticmethod(words_of_checkpoint)

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {command: LightningCLI.subcommands()[command]}

    return OneCommand


def _explain(fault: ArgumentError, sources: Sequence[Source], tasks: Sequence[Task], command: str) -> None:
    if path := denied_path(str(fault)):
        raise InputError(command, f"a setting names {path!r}, which is not allowed", REMEDY) from fault
    refuse_wrong_value(sources, tasks)
    raise UsageError(command, shortened(str(fault)), f"See `python cli.py {command} --help`.") from fault
