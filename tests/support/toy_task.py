"""A task that trains in milliseconds through the command line."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from command_line.main import run_command
from command_line.tasks import Task
from datamodules.loading import ResumableDataModule
from formats.atomic import write_text

CONFIG = """
seed_everything: 0
model:
  class_path: ToyModule
data:
  class_path: ToyDataModule
trainer:
  default_root_dir: {root}
  accelerator: cpu
  devices: 1
  max_epochs: 4
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger:
    - class_path: CSVLogger
      init_args: {{save_dir: {root}, name: toy}}
  callbacks:
    - class_path: callbacks.ema.EMA
      init_args: {{decay: 0.9}}
    - class_path: ModelCheckpoint
      init_args: {{filename: best, monitor: val/loss, mode: min}}
    - class_path: LastCheckpoint
"""


def say(line: str) -> None:
    """Print a line in one write, so that lines of several processes do not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Numbers(Dataset[Tensor]):
    """The numbers 0 … 11, six batches of two."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([float(index)])

    def __getitems__(self, indices: list[int]) -> Tensor:
        return torch.tensor(indices, dtype=torch.float32)[:, None]


def unchanged(batch: Any) -> Any:
    """Keep a batch that was loaded at once."""
    return batch


class ToyDataModule(ResumableDataModule):
    """Numbers in random order.

    Args:
        output_dir: Folder that predictions are for.
    """

    def __init__(self, output_dir: Path | None = None) -> None:
        super().__init__()
        self.output_dir = output_dir

    def train_dataloader(self) -> DataLoader[Any]:
        return self.resumable_loader(Numbers(), 2, seed=0)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Numbers(), batch_size=2, collate_fn=unchanged)

    test_dataloader = predict_dataloader = val_dataloader


class ToyModule(LightningModule):
    """A linear layer with noise and momentum.

    Args:
        learning_rate: Learning rate of SGD, reached by a warm-up of 10 steps.
        weight_decay: Weight decay.
        width: Number of outputs, which sets the size of checkpoints.
        step_seconds: Time of a training step.
        val_seconds: Time of a validation step.
        output: File that prediction writes.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.0,
        width: int = 3,
        step_seconds: float = 0.0,
        val_seconds: float = 0.0,
        output: str = "out/toy.txt",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Linear(1, width)
        self.seen: list[float] = []

    def configure_optimizers(self) -> Any:
        h = self.hparams
        optimizer = torch.optim.SGD(self.parameters(), h["learning_rate"], momentum=0.9, weight_decay=h["weight_decay"])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        time.sleep(self.hparams["step_seconds"])
        say(f"step {self.trainer.global_step}")
        loss: Tensor = ((self.network(batch / 10) - batch / 5 + torch.randn_like(batch)) ** 2).mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        time.sleep(self.hparams["val_seconds"])
        if not self.trainer.sanity_checking:
            say(f"validation batch {batch_idx}")
        self.log("val/loss", (self.network(batch / 10) - batch / 5).square().mean(), batch_size=len(batch))

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        time.sleep(self.hparams["val_seconds"])
        say(f"prediction {batch_idx}")
        write_text(Path(self.hparams["output"]), f"{batch_idx}")
        return batch


TASKS = (
    Task(
        "toy", (f"{ToyModule.__module__}:ToyModule",), (f"{ToyModule.__module__}:ToyDataModule",),
    ),
)  # fmt: skip


def write_config(folder: Path) -> Path:
    """Write the configuration of the task, whose runs are kept in ``folder``."""
    path = folder / "toy.yaml"
    write_text(path, CONFIG.format(root=folder))
    return path


def run(*args: str) -> None:
    """Run a command in this process."""
    run_command(TASKS, args)


def fit(folder: Path, *more: str) -> Path:
    """Train and return the folder of the newest run's checkpoints."""
    run("fit", f"--config={write_config(folder)}", *more)
    return max((folder / "toy").glob("version_*"), key=lambda path: int(path.name[8:])) / "checkpoints"


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def assert_same_state(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Compare weights, average and optimizer bit by bit."""
    assert first["global_step"] == second["global_step"]
    for group in ("state_dict", "current_model_state"):
        for name, value in first[group].items():
            assert torch.equal(value, second[group][name]), (group, name)
    states = [part["optimizer_states"][0]["state"] for part in (first, second)]
    for number, state in states[0].items():
        assert torch.equal(state["momentum_buffer"], states[1][number]["momentum_buffer"])
