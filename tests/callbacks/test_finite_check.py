"""Non-finite losses and gradients: found at the step, named, and the run stopped or the step skipped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # private, but documented; tried with torch 2.15

from callbacks.finite_check import MAX_SKIPPED_IN_A_ROW, FiniteCheck
from formats.errors import InputError
from lightning_modules.training_steps import TrainingSteps
from tests.support.tiny_tasks import TASKS, microdoppler, tiny_trainer

FAULTS = {"nan": torch.nan, "inf": torch.inf, "1e30": 1e30}
INPUTS = {"microdoppler": "latents", "pair": "images", "layers": "orders"}


class Poison(Callback):
    """Put a value into the first sample of chosen batches."""

    def __init__(
        self, key: str, value: float, batches: tuple[int, ...] = (1,), ranks: tuple[int, ...] = (0, 1)
    ) -> None:
        self.key, self.value, self.batches, self.ranks = key, value, batches, ranks

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx in self.batches and trainer.global_rank in self.ranks:
            batch[self.key] = batch[self.key].float()
            batch[self.key][0, ..., 0, 0] = self.value

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.on_train_batch_start(trainer, pl_module, batch, batch_idx)


class PoisonGradient(Callback):
    """Make one gradient NaN while the loss is finite."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameter = pl_module.get_parameter("network.blocks.1.mlp.w12.weight")
        assert parameter.grad is not None
        parameter.grad[0, 0] = torch.nan


def finite(module: LightningModule) -> bool:
    return all(bool(value.isfinite().all()) for value in module.parameters())


def fitted(
    task: tuple[TrainingSteps, LightningDataModule], *callbacks: Callback, **settings: Any
) -> tuple[Trainer, TrainingSteps]:
    module, data = task
    trainer = tiny_trainer(callbacks=list(callbacks), **settings)
    trainer.fit(module, data)
    return trainer, module


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_latents_stop_training_and_name_the_sample(tmp_path: Path, fault: str) -> None:
    module, data = microdoppler(tmp_path)
    before = {name: value.clone() for name, value in module.named_parameters()}
    with pytest.raises(
        InputError, match=r"training step 2: loss is not finite; sample train\.safetensors row \d+: loss is not"
    ) as e:
        fitted((module, data), Poison("latents", FAULTS[fault]))
    assert "its latents reach" in str(e.value)
    assert "its noise reach" not in str(e.value)
    assert "prepare check-data" in str(e.value)
    assert finite(module)
    assert any(not torch.equal(value, before[name]) for name, value in module.named_parameters()), "step 1 was taken"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pair", "layers"])
@pytest.mark.parametrize("fault", ["nan", "inf"])
def test_bad_input_of_other_tasks_stops_training(tmp_path: Path, task: str, fault: str) -> None:
    """An index stays in 0…1 whatever the input, but not if the input is NaN."""
    key = {"pair": "images", "layers": "orders"}[task]
    module, data = TASKS[task](tmp_path, batch_size=2)
    with pytest.raises(InputError, match=r"training step 1: .*not finite; .*sample"):
        fitted((module, data), Poison(key, FAULTS[fault], batches=(0,)))
    assert finite(module)


@pytest.mark.parametrize(
    "task", ["microdoppler", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pair", "layers"))]
)
def test_an_exploding_learning_rate_stops_training(tmp_path: Path, task: str) -> None:
    module, data = TASKS[task](tmp_path, batch_size=2, learning_rate=1e25)
    with pytest.raises(InputError, match=r"training step \d: .*not finite"):
        fitted((module, data), max_epochs=3)


def test_a_gradient_that_is_not_finite_names_its_part(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"step 1: the gradient is not finite in blocks\.1\."):
        fitted(microdoppler(tmp_path), PoisonGradient())


class CountScalars(TorchDispatchMode):
    """Count the numbers that are copied to the host."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_good_step_copies_one_number_to_the_host(tmp_path: Path) -> None:
    module, _ = microdoppler(tmp_path)
    optimizer = torch.optim.AdamW(module.parameters())
    loss = torch.stack([value.square().sum() for value in module.parameters()]).sum()
    loss.backward()
    module.step_terms = {"loss": loss.detach(), "other": loss.detach()}
    check, trainer = FiniteCheck(), tiny_trainer()
    with cast(Any, CountScalars)() as counter:
        check.on_before_backward(trainer, module, loss)
        check.on_before_backward(trainer, module, loss)
        check.on_before_optimizer_step(trainer, module, optimizer)
    assert counter.count == 1


def test_a_bad_batch_can_be_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("callbacks").setLevel(logging.WARNING)
    trainer, module = fitted(microdoppler(tmp_path), Poison("latents", torch.nan), on_nonfinite="skip", max_epochs=2)
    check = next(part for part in cast(Any, trainer).callbacks if isinstance(part, FiniteCheck))
    assert check.skipped == 2
    assert trainer.callback_metrics["train/skipped_steps"] == 2
    assert trainer.global_step == 6
    assert finite(module)
    assert "training step 2 is skipped: loss is not finite" in caplog.text
    assert "2 training steps were skipped" in caplog.text


def test_a_skipped_step_leaves_the_weights_as_they_are(tmp_path: Path) -> None:
    module, data = microdoppler(tmp_path)
    before = {name: value.clone() for name, value in module.named_parameters()}
    fitted((module, data), Poison("latents", torch.nan, batches=(0,)), on_nonfinite="skip", max_steps=1)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())


def test_bad_steps_are_not_skipped_for_ever(tmp_path: Path) -> None:
    bad = Poison("latents", torch.nan, batches=(0, 1, 2))
    with pytest.raises(InputError, match=f"training step {MAX_SKIPPED_IN_A_ROW + 1}"):
        fitted(microdoppler(tmp_path), bad, on_nonfinite="skip", max_epochs=9)


def test_all_batches_of_an_accumulated_step_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training step 1"):
        fitted(microdoppler(tmp_path), Poison("latents", torch.nan, batches=(0,)), accumulate_grad_batches=3)


def test_validation_names_the_sample(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"validation batch 2: loss is not finite; sample val.safetensors row 4"):
        fitted(microdoppler(tmp_path), Poison("latents", torch.inf), limit_val_batches=2, num_sanity_val_steps=2)


def test_checkpoints_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    trainer, module = fitted(microdoppler(tmp_path))
    trainer.save_checkpoint(tmp_path / "good.ckpt")
    with torch.no_grad():
        next(module.parameters())[0] = torch.nan
    with pytest.raises(InputError, match=r"checkpoint at step 3: holds weights that are NaN or infinite, in 1 of"):
        trainer.save_checkpoint(tmp_path / "bad.ckpt")
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["good.ckpt"]


def poisoned(path: Path, change: Callable[[dict[str, Any]], Tensor]) -> Path:
    """Write a copy of a checkpoint in which one tensor has a NaN."""
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint).view(-1)[0] = torch.nan
    torch.save(checkpoint, path.with_name("poisoned.ckpt"))
    return path.with_name("poisoned.ckpt")


def test_a_checkpoint_that_is_not_finite_is_neither_used_nor_resumed(tmp_path: Path) -> None:
    trainer, _ = fitted(microdoppler(tmp_path))
    trainer.save_checkpoint(tmp_path / "good.ckpt")
    bad = poisoned(tmp_path / "good.ckpt", lambda content: next(iter(content["state_dict"].values())))
    module, data = microdoppler(tmp_path)
    for use in (
        lambda: tiny_trainer().fit(module, data, ckpt_path=bad, weights_only=True),
        lambda: tiny_trainer().validate(module, data, ckpt_path=bad, weights_only=True),
        lambda: type(module).load_from_checkpoint(bad, weights_only=True),
    ):
        with pytest.raises(InputError, match=r"holds weights that are NaN or infinite.*Use an earlier checkpoint"):
            use()


def test_a_checkpoint_with_a_bad_optimizer_predicts_but_does_not_resume(tmp_path: Path) -> None:
    trainer, _ = fitted(microdoppler(tmp_path))
    trainer.save_checkpoint(tmp_path / "good.ckpt")
    bad = poisoned(tmp_path / "good.ckpt", lambda content: content["optimizer_states"][0]["state"][0]["exp_avg"])
    module, data = microdoppler(tmp_path)
    with pytest.raises(InputError, match="state of the optimiser that are NaN"):
        tiny_trainer().fit(module, data, ckpt_path=bad, weights_only=True)
    module, data = microdoppler(tmp_path)
    tiny_trainer().validate(module, data, ckpt_path=bad, weights_only=True, verbose=False)


@pytest.mark.parametrize("on_nonfinite", ["raise", "skip"])
def test_two_processes_decide_together(tmp_path: Path, on_nonfinite: str) -> None:
    """The second process alone has a bad sample; neither waits for the other."""
    task = microdoppler(tmp_path, batch_size=2)
    bad = Poison("latents", torch.nan, ranks=(1,))
    if on_nonfinite == "skip":
        trainer, module = fitted(task, bad, num_processes=2, on_nonfinite="skip")
        assert trainer.callback_metrics["train/skipped_steps"] == 1
        assert finite(module)
    else:
        with pytest.raises(Exception, match=r"training step 2: loss is not finite.*sample train\.safetensors row \d+"):
            fitted(task, bad, num_processes=2)
