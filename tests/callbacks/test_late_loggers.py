"""Loggers that open their runs after the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from command_line.trainer import Trainer
from formats.errors import InputError


class ServerLogger(Logger):
    """Logger whose runs get their names from a server."""

    def __init__(self) -> None:
        self.opened = 0

    @property
    def name(self) -> str:
        return "project"

    @property
    def version(self) -> str:
        return f"run{self.opened}"

    @property
    def experiment(self) -> Any:
        self.opened += 1
        return self

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...


class RefusedData(BoringDataModule):
    """Data with a fault."""

    def setup(self, stage: str) -> None:
        raise InputError("data", "is broken", "Repair it.")


class RefusedModel(BoringModel):
    """Model that does not fit the data."""

    def configure_model(self) -> None:
        raise InputError("model", "does not fit", "Change it.")


def trainer_with(*loggers: Logger) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=list(loggers),
        max_steps=2,
        log_every_n_steps=1,
        limit_val_batches=0,
        enable_progress_bar=False,
    )


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(("model", "data"), [(BoringModel, RefusedData), (RefusedModel, BoringDataModule)])
def test_a_refused_run_is_not_opened(
    command: str, model: type[BoringModel], data: type[BoringDataModule], tmp_path: Path
) -> None:
    server, csv = ServerLogger(), CSVLogger(tmp_path / "runs")
    trainer = trainer_with(csv, server)
    with pytest.raises(InputError):
        getattr(trainer, command)(model(), datamodule=data())
    assert server.opened == 0
    assert list(tmp_path.iterdir()) == []
    assert trainer.loggers == [csv, server]


def test_a_run_named_by_a_server_is_opened_for_the_names_of_checkpoints(tmp_path: Path) -> None:
    server = ServerLogger()
    trainer_with(server).fit(BoringModel(), datamodule=BoringDataModule())
    assert server.opened
    assert list(tmp_path.rglob("project/run1/checkpoints/*.ckpt"))


def test_loggers_of_one_run_share_a_folder(tmp_path: Path) -> None:
    csv, board = CSVLogger(tmp_path, name="toy"), TensorBoardLogger(tmp_path, name="toy", default_hp_metric=False)
    trainer_with(csv, board).fit(BoringModel(), datamodule=BoringDataModule())
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["version_0"]
    assert list((tmp_path / "toy" / "version_0").glob("events.*"))
