"""Typed access to Lightning's trainer."""

import pytest
from lightning import LightningDataModule, LightningModule, Trainer

from batches.trainer import datamodule_of, process_of, trainer_of
from formats.errors import InputError


class Data(LightningDataModule):
    pass


def make_trainer() -> Trainer:
    return Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)


def test_without_a_trainer_there_is_one_process() -> None:
    assert process_of(None) == (0, 1)


def test_rank_and_number_of_processes_are_the_trainers(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer()
    assert process_of(trainer) == (0, 1)
    monkeypatch.setattr(type(trainer), "global_rank", 2)
    monkeypatch.setattr(type(trainer), "world_size", 3)
    assert process_of(trainer) == (2, 3)


def test_a_module_without_a_trainer_has_none() -> None:
    module, data, trainer = LightningModule(), Data(), make_trainer()
    assert trainer_of(module) is None
    assert trainer_of(data) is None
    module.trainer = data.trainer = trainer
    assert trainer_of(module) is trainer
    assert trainer_of(data) is trainer


def test_a_datamodule_of_another_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer()
    with pytest.raises(InputError, match="no datamodule cannot be used here. Use Data."):
        datamodule_of(trainer, Data)
    data = Data()
    monkeypatch.setattr(trainer, "datamodule", data, raising=False)  # as Lightning does
    assert datamodule_of(trainer, Data) is data
    with pytest.raises(InputError, match="Data cannot be used here. Use Trainer"):
        datamodule_of(trainer, Trainer)
