"""Classes that configurations and checkpoints may name.

A configuration names classes by their import path, and importing a module runs it: a configuration from a stranger
would run any code. Only classes of this project, the listed ones of Lightning and PyTorch, and packages that the user
allows with ``--allow_classes`` are imported. Names are checked before the parser sees them, with a message that says
where the name is; the parser checks every other string that it would import, such as the name of a function.

See docs/security.md. Tested with jsonargparse 4.53, whose import policy is used.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jsonargparse import set_parsing_settings

from command_line.settings import Source
from command_line.tasks import Task
from formats.errors import InputError
from formats.hub_files import is_hub_name, parse_hub_name

OPTION = "--allow_classes"
REMEDY = f"Take it out, or pass {OPTION} with its package if you trust that code."
PACKAGES = ("callbacks", "datamodules", "lightning_modules", "networks")  # of this project
# Public classes of libraries, and functions that take and return tensors only. None of them runs code, opens a
# connection or loads a pickle that its arguments name; DeepSpeed's and LambdaCallback are absent for that reason.
LISTED: dict[str, tuple[str, ...]] = {
    "lightning.pytorch.callbacks": (
        "BackboneFinetuning",
        "BatchSizeFinder",
        "DeviceStatsMonitor",
        "EarlyStopping",
        "EMAWeightAveraging",
        "GradientAccumulationScheduler",
        "LearningRateFinder",
        "LearningRateMonitor",
        "ModelCheckpoint",
        "ModelPruning",
        "ModelSummary",
        "OnExceptionCheckpoint",
        "RichModelSummary",
        "RichProgressBar",
        "SpikeDetection",
        "StochasticWeightAveraging",
        "ThroughputMonitor",
        "Timer",
        "TQDMProgressBar",
        "WeightAveraging",
    ),
    "lightning.pytorch.loggers": ("CometLogger", "CSVLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger"),
    "lightning.pytorch.profilers": ("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler"),
    "lightning.pytorch.strategies": (
        "DDPStrategy",
        "FSDPStrategy",
        "ModelParallelStrategy",
        "SingleDeviceStrategy",
    ),
    "lightning.pytorch.plugins": (
        "DoublePrecision",
        "FSDPPrecision",
        "HalfPrecision",
        "MixedPrecision",
        "Precision",
        "TorchSyncBatchNorm",
    ),
    "lightning.pytorch.plugins.environments": (
        "KubeflowEnvironment",
        "LightningEnvironment",
        "LSFEnvironment",
        "MPIEnvironment",
        "SLURMEnvironment",
        "TorchElasticEnvironment",
    ),
    "lightning.pytorch.accelerators": ("CPUAccelerator", "CUDAAccelerator", "MPSAccelerator"),
    "torch.distributed.fsdp": ("CPUOffload", "MixedPrecision", "MixedPrecisionPolicy"),
    "torch.distributed.algorithms.ddp_comm_hooks.default_hooks": (
        "allreduce_hook",
        "bf16_compress_hook",
        "fp16_compress_hook",
    ),
    "torch.optim": ("Adam", "AdamW", "Adagrad", "LBFGS", "NAdam", "RAdam", "RMSprop", "SGD"),
    "torch.optim.lr_scheduler": (
        "ConstantLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "ExponentialLR",
        "LinearLR",
        "MultiStepLR",
        "OneCycleLR",
        "PolynomialLR",
        "ReduceLROnPlateau",
        "StepLR",
    ),
}
# Settings of the trainer whose values may be classes.
TRAINER_CLASSES = ("accelerator", "callbacks", "logger", "plugins", "profiler", "strategy")
IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
# Arguments of modules and datamodules that may name a file on the hub, `hf://owner/repository/file`.
HUB_FILES = ("imagenet_statistics", "inception_weights", "init_from", "published_checkpoint", "tokenizer_path")
URL = re.compile(r"[A-Za-z][\w+.\-]*(://|::)")

_allowed_before: set[str] = set()


def take_allowed_packages(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate ``--allow_classes PACKAGE`` from the other arguments; several are separated by commas.

    Returns:
        The other arguments, and the packages.

    Raises:
        InputError: A package is not named by an import path.
    """
    words, packages = [], []
    remaining = list(args)
    while remaining:
        word = remaining.pop(0)
        option, has_value, value = word.partition("=")
        if option != OPTION:
            words.append(word)
            continue
        packages += (value if has_value else remaining.pop(0) if remaining else "").split(",")
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")) or package.split(".")[0] == "jsonargparse":
            fault = f"{package!r} is not the import path of a package of classes"
            raise InputError(OPTION, fault, "Name a package or a class, such as my_package.")
    return words, packages


def enforce(tasks: Iterable[Task], packages: Iterable[str]) -> None:
    """Make the parser import nothing but allowed classes.

    Args:
        tasks: All tasks, whose classes are allowed.
        packages: Packages that the user allows.
    """
    listed = [(module, name) for module, names in LISTED.items() for name in names]
    entries = {*PACKAGES, *packages, *(f"{module}.{name}" for module, name in listed)}
    for path in _class_paths(tasks) | {_defined_at(module, name) for module, name in listed}:
        *modules, name = path.split(".")
        # The parser names a class by the shortest path at which a package offers it.
        entries |= {".".join([*modules[: end + 1], name]) for end in range(len(modules))}
    # The policy of an earlier command in this process is taken back, as far as this one does not say the same.
    same = {path for path in _allowed_before if any(path.startswith(f"{entry}.") for entry in entries)}
    set_parsing_settings(
        import_path_denylist=["*", *_allowed_before],
        import_path_allowlist=sorted(entries | same),
        instantiate_subclass_spec_in_any=False,
    )
    _allowed_before.update(entries)


def denied_path(message: str) -> str | None:
    """Return the import path that the parser refused, by its message, or None if it refused something else."""
    found = re.search(r"Importing '([^']+)' is not allowed", message)
    return found[1] if found else None


def enforce_none() -> None:
    """Make the parser import nothing, for tools, whose options are plain values."""
    set_parsing_settings(import_path_denylist=["*", *_allowed_before], instantiate_subclass_spec_in_any=False)


def _defined_at(module: str, name: str) -> str:
    """Return the path at which a public class is defined, which the parser checks too."""
    target = getattr(importlib.import_module(module), name)
    return f"{target.__module__}.{target.__qualname__}"


def _class_paths(tasks: Iterable[Task]) -> set[str]:
    return {target.replace(":", ".") for task in tasks for target in task.classes()}


def check_sources(sources: Sequence[Source], tasks: Sequence[Task], packages: Sequence[str]) -> None:
    """Check that settings name only allowed classes and local files.

    Raises:
        InputError: A class is not allowed, or a value is a URL, other than the name of published weights on the hub.
    """
    for source in sources:
        if source.name.endswith((".yaml", ".yml")) and "config" in source.settings:
            raise InputError(source.name, "includes another configuration", "Pass it with a --config of its own.")
        check_settings_of(source.settings, source.name, tasks, packages)


def check_settings_of(settings: Mapping[str, Any], where: str, tasks: Sequence[Task], packages: Sequence[str]) -> None:
    """Check the settings of one configuration, option or checkpoint; see :func:`check_sources`.

    Args:
        settings: Nested settings, from the top level.
        where: The file or option, for errors.
        tasks: All tasks.
        packages: Packages that the user allows.
    """
    for option, path in _named_classes(settings):
        if not isinstance(path, str) or not _is_allowed(path, tasks, packages):
            raise InputError(where, f"{option} names the class {path!r}, which is not allowed", REMEDY)
    for option, value in _strings(settings, ""):
        if is_hub_name(value) and _is_hub_option(option):
            parse_hub_name(value)  # refuses it before anything starts
        elif URL.match(value):
            raise InputError(where, f"{option} is the URL {value}", "Name a local file or folder.")


def _is_allowed(path: str, tasks: Sequence[Task], packages: Sequence[str]) -> bool:
    if "." not in path:  # the parser finds it among the classes that are imported, and checks it there
        return path.isidentifier()
    module, _, name = path.rpartition(".")
    if name in LISTED.get(module, ()) or path in _class_paths(tasks):
        return True
    if any(_defined_at(listed, each) == path for listed, names in LISTED.items() for each in names if each == name):
        return True
    return any(path == package or path.startswith(f"{package}.") for package in (*PACKAGES, *packages))


def _is_hub_option(option: str) -> bool:
    parts = option.split(".")
    return parts[0] in ("--model", "--data") and parts[-1] in HUB_FILES


def _named_classes(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each class that settings name, with the option."""
    for key in ("model", "data"):
        if isinstance(settings.get(key), str) and IMPORT_PATH.fullmatch(settings[key]):
            yield f"--{key}", settings[key]
    trainer = settings.get("trainer")
    if isinstance(trainer, Mapping):
        for key in TRAINER_CLASSES:
            values = trainer.get(key)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and IMPORT_PATH.fullmatch(value):
                    yield f"--trainer.{key}", value
    yield from _class_path_entries(settings, "")


def _class_path_entries(value: Any, option: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("class_path") is not None:
            yield f"--{option}", value["class_path"]
        for key, part in value.items():
            yield from _class_path_entries(part, f"{option}.{key}" if option else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _class_path_entries(part, option)


def _strings(value: Any, option: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield f"--{option}", value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _strings(part, f"{option}.{key}" if option else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part, option)
