"""Settings of the optimiser that a resumed run was given, in place of those stored in its checkpoint.

The place in the data is stored and restored by `ResumableDataModule` of datamodules/loading.py.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.optim.lr_scheduler import LambdaLR

SETTINGS = ("weight_decay", "betas", "momentum")


class ResumedSettings(Callback):
    """Train on with the learning rates, weight decay and betas of the command line and configuration files.

    PyTorch restores them from the checkpoint together with the optimiser's moments, so that new ones would be recorded
    but not used. The learning rate of a setting is its schedule's peak: the schedule goes on at the resumed step. Where
    no setting has changed, the resumed run is bit by bit what the interrupted one would have been.
    """

    def __init__(self) -> None:
        self._groups: list[list[dict[str, Any]]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the settings, before the checkpoint's replace them."""
        self._groups = [
            [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the settings back, and say which differ from the checkpoint's."""
        if not trainer.ckpt_path:
            return
        for optimizer, groups in zip(trainer.optimizers, self._groups, strict=True):
            for group, asked in zip(optimizer.param_groups, groups, strict=True):
                for name in SETTINGS:
                    if name in asked and _differs(group[name], asked[name]):
                        rank_zero_info(f"{name} is {asked[name]}; the checkpoint had {group[name]}")
                        group[name] = asked[name]
            self._set_rates(trainer, optimizer, groups)

    def _set_rates(self, trainer: Trainer, optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> None:
        schedulers = [
            config.scheduler for config in trainer.lr_scheduler_configs if config.scheduler.optimizer is optimizer
        ]
        scheduler = schedulers[0] if schedulers else None
        for number, (group, asked) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
            key = "lr" if scheduler is None else "initial_lr"
            before, after = float(group[key]), float(asked[key])
            if before == after:
                continue
            rank_zero_info(f"the learning rate is {after:g}; the checkpoint had {before:g}")
            group[key] = after
            if isinstance(scheduler, LambdaLR):
                scheduler.base_lrs[number] = after
                group["lr"] = after * scheduler.lr_lambdas[number](scheduler.last_epoch)
            elif scheduler is not None:
                scheduler.base_lrs[number] = after
                group["lr"] *= after / before


def _differs(first: Any, second: Any) -> bool:
    return bool(tuple(first) != tuple(second)) if isinstance(first, list | tuple) else bool(first != second)
