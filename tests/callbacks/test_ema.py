"""The weight average follows the weights from the first steps of a run, at the decay that is logged."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from callbacks.ema import EMA
from formats.errors import InputError


class Line(LightningModule):
    """A weight that moves by 1 in every step, from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return -self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class SaveAfter(Callback):
    """Saves a checkpoint after some epochs' steps."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def average_of(ema: WeightAveraging, folder: Path, steps: int = 30, ckpt_path: Path | None = None) -> float:
    """Train for some steps; the module then holds the average."""
    module = Line()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=CSVLogger(folder),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ema, SaveAfter(10, folder / "cut.ckpt")],
    )
    loader = DataLoader(TensorDataset(torch.zeros(10, 1)), batch_size=1)
    trainer.fit(module, loader, ckpt_path=ckpt_path, weights_only=True)
    assert module.weight.unique().numel() == 1
    return module.weight[0].item()


def expected(steps: int, decays: list[float]) -> float:
    """The first update copies the weight, which is 1 by then."""
    average = 1.0
    for step, decay in zip(range(2, steps + 1), decays, strict=False):
        average = decay * average + (1 - decay) * step
    return average


def test_decay_warms_up_as_in_timm_and_diffusers(tmp_path: Path) -> None:
    warm = [min(0.9999, (1 + n) / (10 + n)) for n in range(1, 30)]
    average = average_of(EMA(), tmp_path)
    assert average == pytest.approx(expected(30, warm), rel=1e-5)
    assert average > 20  # near the weight, which is 30
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        logged = [float(row["train/ema_decay"]) for row in csv.DictReader(file) if row.get("train/ema_decay")]
    assert logged == pytest.approx([0.1, *warm], rel=1e-5)


def test_without_warmup_the_first_weights_dominate(tmp_path: Path) -> None:
    average = average_of(EMA(warmup=False), tmp_path)
    assert average == pytest.approx(expected(30, [0.9999] * 29), rel=1e-5)
    assert average < 1.1


def test_decay_never_exceeds_its_limit() -> None:
    ema = EMA(decay=0.5)
    assert [ema.decay_at(step) for step in (0, 1, 2)] == [1 / 10, 2 / 11, 3 / 12]
    assert ema.decay_at(8) == ema.decay_at(1000) == 0.5
    assert EMA().decay_at(6000) == pytest.approx(6001 / 6010)
    assert EMA().decay_at(10**6) == 0.9999


def test_updates_every_nth_step_from_the_start_step(tmp_path: Path) -> None:
    ema = EMA(every_n_steps=4, start_step=6)
    updates = [step for step in range(20) if ema.should_update(step_idx=step)]
    assert updates == [8, 12, 16]
    assert [ema.decay_at(step) for step in updates] == [1 / 10, 2 / 11, 3 / 12]
    assert not ema.should_update(epoch_idx=8)
    # after steps 9, 13 and 17, counted from 1
    by_hand = 9.0
    for decay, weight in ((2 / 11, 13), (3 / 12, 17)):
        by_hand = decay * by_hand + (1 - decay) * weight
    assert average_of(ema, tmp_path, steps=18) == pytest.approx(by_hand, rel=1e-6)


def test_resumed_run_ends_with_the_same_average(tmp_path: Path) -> None:
    whole = average_of(EMA(), tmp_path)
    assert average_of(EMA(), tmp_path / "resumed", ckpt_path=tmp_path / "cut.ckpt") == whole


def test_checkpoints_hold_the_average(tmp_path: Path) -> None:
    average_of(EMA(), tmp_path)
    checkpoint = torch.load(tmp_path / "cut.ckpt", weights_only=True)
    warm = [(1 + n) / (10 + n) for n in range(1, 10)]
    assert float(checkpoint["state_dict"]["weight"][0]) == pytest.approx(expected(10, warm), rel=1e-5)
    assert float(checkpoint["current_model_state"]["weight"][0]) == 10


def test_lightnings_own_average_does_not_warm_up(tmp_path: Path) -> None:
    """The difference to Lightning's callback: if that one ever warms up, it can replace ours."""
    from lightning.pytorch.callbacks import EMAWeightAveraging

    assert average_of(EMAWeightAveraging(decay=0.9999), tmp_path) < 1.1


@pytest.mark.parametrize("arguments", [{"decay": 1.0}, {"decay": -0.1}, {"every_n_steps": 0}, {"start_step": -1}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        EMA(**arguments)
