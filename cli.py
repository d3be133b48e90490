"""The one door of Trilight: ``python cli.py fit | validate | test | predict | prepare | pipeline``.

``fit``, ``validate``, ``test`` and ``predict`` are Lightning's own; classes go by their short names. ``prepare``
holds the data tools, ``pipeline`` whole jobs. Installed, the command ``trilight`` is the same door.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
import yaml
from jsonargparse import ArgumentError, auto_cli
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback

from callbacks.ema import EMA
from callbacks.evaluation_report import EvaluationReport
from callbacks.latent_writer import LatentShardWriter
from callbacks.layer_images import LayerImages
from callbacks.layer_writer import LayerWriter
from callbacks.pair_images import OverfitReport, PairImages
from callbacks.pair_writer import PairWriter
from callbacks.sample_grid import SampleGrid
from callbacks.sample_writer import SampleWriter
from callbacks.step_seed import StepSeed
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from datamodules.illustration_folder import IllustrationFolderDataModule
from datamodules.latents import LatentDataModule
from datamodules.layered_art import LayeredArtDataModule
from datamodules.pair_folder import PairFolderDataModule
from datamodules.sample_requests import SampleRequestDataModule
from datamodules.spectrograms import SpectrogramDataModule
from formats.errors import InputError
from lightning_modules.latent_extraction import LatentExtractionModule
from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from prepare.aerial_city_sample import aerial_city_sample
from prepare.illustrations_sample import illustrations_sample
from prepare.layers import layers
from prepare.microdoppler_sample import microdoppler_sample
from prepare.pipeline import demo, microdoppler
from prepare.single_pair import check_pairs, single_pair

# Imported here, a class is known to the command line by its short name.
MODULES = (UserConditionedDiTModule, LatentExtractionModule, PairDepthCameraModule, LayerIndexModule)
DATAMODULES = (
    LatentDataModule,
    SpectrogramDataModule,
    SampleRequestDataModule,
    AerialMegaDepthDataModule,
    PairFolderDataModule,
    LayeredArtDataModule,
    IllustrationFolderDataModule,
)
CALLBACKS = (
    EMA,
    SampleGrid,
    EvaluationReport,
    LatentShardWriter,
    SampleWriter,
    PairImages,
    OverfitReport,
    PairWriter,
    LayerImages,
    LayerWriter,
)

TOOLS: dict[str, Any] = {
    "prepare": {
        "microdoppler-sample": microdoppler_sample,
        "aerial-city-sample": aerial_city_sample,
        "single-pair": single_pair,
        "check-pairs": check_pairs,
        "illustrations-sample": illustrations_sample,
        "layers": layers,
    },
    "pipeline": {"microdoppler": microdoppler, "demo": demo},
}
FLAG_OPTIONS = ("--create_config", "--evaluate")
LIST_OPTIONS = ("--generate_user_ids", "--overlays")

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]


class Trainer(lightning.Trainer):
    """Lightning's Trainer, with a precision chosen by the hardware.

    Args:
        precision: ``auto`` is bf16-mixed where the GPU computes in it, 16-mixed on older GPUs, and 32-true
            without a GPU.
    """

    def __init__(self, *args: Any, precision: Precision = "auto", **kwargs: Any) -> None:
        super().__init__(*args, precision=hardware_precision() if precision == "auto" else precision, **kwargs)


def hardware_precision() -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """What ``precision: auto`` stands for on this machine."""
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


class SaveConfig(SaveConfigCallback):
    """Keeps the configuration beside the logs of a training run; other commands record theirs with their output."""

    def setup(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write ``config.yaml`` once per run."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class TrilightCLI(LightningCLI):
    """LightningCLI that lets what the user says override the settings stored in a checkpoint.

    Checkpoints are local files, which torch reads without running code (``weights_only=True`` is its default).
    """

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: :func:`with_checkpoint_settings` has put the checkpoint's beneath it."""

    def instantiate_classes(self) -> None:
        """Make the objects; a class that refuses its settings is heard through the parser's own error.

        Raises:
            InputError: A setting cannot be used.
        """
        try:
            super().instantiate_classes()
        except ValueError as fault:
            cause: BaseException | None = fault
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            raise cause from None


def with_checkpoint_settings(args: Sequence[str]) -> list[str]:
    """Put the hyperparameters stored in ``--ckpt_path`` before all other settings, so that those override them.

    What shapes the network (the module's ``ARCHITECTURE``) stands after the configuration files as well: weights fit no
    other shape, and a configuration that serves many checkpoints names the full size.

    Raises:
        InputError: The checkpoint is missing or cannot be read.
    """
    args = list(args)
    values = [word.partition("=")[2] for word in args if word.startswith("--ckpt_path=")]
    values += [after for word, after in itertools.pairwise(args) if word == "--ckpt_path"]
    if not values or values[-1] in ("last", "best", "hpc", "registry", "null"):
        return args
    path = Path(values[-1])
    if not path.is_file():
        raise InputError(path, "there is no such checkpoint", "Give --ckpt_path the path of a .ckpt file.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        settings = dict(checkpoint.get("hyper_parameters", {}))
    except Exception as fault:
        remedy = "Give --ckpt_path a checkpoint that `fit` wrote; published weights go to --model.published_checkpoint."
        raise InputError(path, f"is no training checkpoint: {str(fault).splitlines()[0]}", remedy) from fault
    settings.pop("_instantiator", None)
    class_path = settings.pop("_class_path", None)
    if class_path is None:
        return args
    model = {"model": {"class_path": class_path, "init_args": settings}}
    module = next((part for part in MODULES if class_path.endswith(f".{part.__name__}")), None)
    architecture = ("network",) if "network" in settings else getattr(module, "ARCHITECTURE", ())
    shape = {"model": {"init_args": {name: settings[name] for name in architecture if name in settings}}}
    files = [place for place, word in enumerate(args) if word in ("-c", "--config") or word.startswith("--config=")]
    if files and architecture:
        after = files[-1] + (1 if "=" in args[files[-1]] else 2)
        args = [*args[:after], "--config", yaml.safe_dump(shape), *args[after:]]
    return [args[0], "--config", yaml.safe_dump(model), *args[1:]]


def _spelled_out(args: Sequence[str]) -> list[str]:
    """Turn ``--ids 1 2 3`` into ``--ids [1, 2, 3]`` and a flag alone into ``--flag=true``, as the parser takes them."""
    joined: list[str] = []
    values: list[str] | None = None
    for word, following in itertools.pairwise([*args, "--", "--"]):
        if values is not None and not word.startswith("--"):
            values.append(word)
            continue
        if values is not None:
            already = len(values) == 1 and values[0].startswith("[")
            joined.append(values[0] if already else f"[{', '.join(values)}]")
        joined.append(f"{word}=true" if word in FLAG_OPTIONS and following.startswith("--") else word)
        values = [] if word in LIST_OPTIONS else None
    return joined[:-1]


def wandb_without_key() -> None:
    """Let W&B log to files where nobody is signed in, so that a run never stops to ask."""
    signed_in = os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in _netrc()
    if not signed_in:
        os.environ.setdefault("WANDB_MODE", "offline")


def _netrc() -> str:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def main(args: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        args: Words after the program's name; None takes them from the command line.

    Raises:
        InputError: Something the user gave cannot be used.
        SystemExit: Wrong arguments, or help was asked for.
    """
    args = sys.argv[1:] if args is None else list(args)
    if args and args[0] in TOOLS:
        auto_cli(TOOLS[args[0]], args=_spelled_out(args[1:]), prog=f"cli.py {args[0]}", as_positional=False)
        return
    if not args or args[0] in ("-h", "--help"):
        print(HELP)
        return
    if args[0] not in TrilightCLI.subcommands():
        commands = ", ".join([*TrilightCLI.subcommands(), *TOOLS])
        raise InputError(args[0], "is no command", f"Choose from {commands}.")
    args = ["--print_config=comments" if word == "--print_config" else word for word in args]
    wandb_without_key()
    _quiet()
    TrilightCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_class=Trainer,
        trainer_defaults={"callbacks": [StepSeed()]},
        save_config_callback=SaveConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={name: {"exit_on_error": False} for name in TrilightCLI.subcommands()} | {"exit_on_error": False},
        args=with_checkpoint_settings(args),
    )


def _quiet() -> None:
    """Silence advertisements, and library warnings about choices that are made on purpose here."""
    rank_zero_log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    rank_zero_log.addFilter(lambda record: "💡 Tip" not in record.getMessage())
    for message in (
        ".*isinstance.treespec, LeafSpec.*",
        ".*Couldn't infer the batch indices.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*The dirpath has changed from.*",
        ".*args parameter is intended to run from within Python.*",
        ".*WeightAveraging callback with a model that overrides.*",
        ".*WeightAveraging callback, but loading a checkpoint outside.*",
        ".*does not have many workers.*",
        ".*Your `IterableDataset` has `__len__` defined.*",
    ):
        warnings.filterwarnings("ignore", message)


HELP = (
    """\
usage: python cli.py COMMAND [options]      (COMMAND --help tells its options)

  fit        train            python cli.py fit --config configs/dit_microdoppler.yaml
  validate   losses and metrics on the validation split
  test       the task's full evaluation, as a table and JSON
  predict    make the task's results from a checkpoint
  prepare    data tools: """
    + ", ".join(TOOLS["prepare"])
    + """
  pipeline   whole jobs: """
    + ", ".join(TOOLS["pipeline"])
    + """

--config may stand several times; later ones override, as do single options such as --trainer.max_epochs 10.
--print_config shows the complete configuration with comments."""
)


def readable(message: str) -> str:
    """Shorten the parser's account of a wrong argument to what a person needs to set it right."""
    noise = (
        "Does not validate",
        "Subtypes:",
        "Errors:",
        "Expected a <class 'NoneType'>",
        "Given value",
        "Expected a path",
    )
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(noise))
    text = re.sub(r"Problem with given class_path '(?:\w+\.)*(\w+)':", r"\1:", text).replace("Parser key", "option")
    known = {part.__name__: part for part in (*MODULES, *DATAMODULES, *CALLBACKS)}
    if stranger := re.search(r"Expected a dot import path string: (\w+)", text):
        text = text.replace(stranger[0], f"there is no class {stranger[1]}; there are {', '.join(known)}")
    if option := re.search(r"(\w+): Option '([\w.]+)' is not accepted", text):
        owner = known.get(option[1])
        names = list(inspect.signature(owner).parameters) if owner else []
        near = difflib.get_close_matches(option[2], names, n=1)
        text += f"; did you mean '{near[0]}'?" if near else f"; it accepts {', '.join(names)}" if names else ""
    return text


def run() -> None:
    """Run the command line; mistakes of the user end in one readable line and exit status 1 or 2."""
    try:
        main()
    except InputError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)
    except ArgumentError as mistake:
        print(f"error: {readable(str(mistake))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
