"""Summary at the start of a command: data, network, parameters, machine, and where results go."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

SOURCES = ("data_dir", "roots", "images")  # attributes of datamodules that say where the data is


class StartSummary(Callback):
    """Log five lines once data and model are set up, in place of the lines of libraries."""

    def __init__(self) -> None:
        self._is_logged = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the summary."""
        self._log(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the address of a W&B run."""
        for logger in trainer.loggers:
            address = getattr(logger.experiment, "url", None) if isinstance(logger, WandbLogger) else None
            if isinstance(address, str) and address:
                rank_zero_info(f"W&B:     {address}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the summary."""
        self._log(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the summary."""
        self._log(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the summary."""
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, module: LightningModule) -> None:
        if self._is_logged:
            return
        self._is_logged = True
        folder = trainer.log_dir  # must be read on every process
        for line in summary_lines(trainer, module, folder):
            rank_zero_info(line)


def summary_lines(trainer: Trainer, module: LightningModule, log_dir: str | None) -> list[str]:
    """Return the lines of the summary.

    Args:
        trainer: The trainer, whose datamodule is set up.
        module: The module, whose network is built.
        log_dir: Folder of the run.
    """
    data = getattr(trainer, "datamodule", None)
    network = getattr(module, "network", None)
    name = f" with {type(network).__name__}" if isinstance(network, torch.nn.Module) else ""
    sizes = {True: 0, False: 0}
    for parameter in module.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    training = trainer.state.fn == "fit"
    trained = f"{count_text(sizes[True])} trained, {count_text(sizes[False])} frozen"
    parameters = trained if training else count_text(sum(sizes.values()))
    return [
        f"data:    {type(data).__name__}{_source(data)}{_splits(data)}",
        f"network: {type(module).__name__}{name}, parameters: {parameters}",
        f"machine: {_devices(trainer)}, precision {trainer.precision}",
        f"results: {_results(trainer, data, log_dir, training)}",
    ]


def count_text(number: int) -> str:
    """Return a number of parameters in short.

    Example:
        >>> count_text(950), count_text(12_345), count_text(249_100_000), count_text(1_158_000_000)
        ('950', '12.3 k', '249 M', '1158 M')
    """
    if number < 1000:
        return str(number)
    value, unit = (number / 1e6, "M") if number >= 1e6 else (number / 1e3, "k")
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _source(data: Any) -> str:
    for name in SOURCES:
        value = getattr(data, name, None)
        if isinstance(value, str | Path):
            return f", {value}"
        if isinstance(value, list | tuple) and value:
            more = f" and {len(value) - 1} more" if len(value) > 1 else ""
            return f", {value[0]}{more}"
    return ""


def _splits(data: Any) -> str:
    datasets = getattr(data, "datasets", None)
    if not isinstance(datasets, Mapping):
        return ""
    parts = [f"{len(dataset)} {name}" for name, dataset in datasets.items() if isinstance(dataset, Sized)]
    return f": {', '.join(parts)}" if parts else ""


def _devices(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    machines = f" on {trainer.num_nodes} machines" if trainer.num_nodes > 1 else ""
    return f"{trainer.num_devices} × {kind}{machines}"


def _results(trainer: Trainer, data: Any, log_dir: str | None, training: bool) -> str:
    if trainer.state.fn == "predict":
        return str(getattr(data, "output_dir", None) or trainer.default_root_dir)
    names = ", ".join(type(logger).__name__.removesuffix("Logger") for logger in trainer.loggers) or "none"
    return f"{log_dir or trainer.default_root_dir}, logged by {names}" if training else str(log_dir)
