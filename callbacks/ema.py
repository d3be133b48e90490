"""Exponential moving average of the weights, on Lightning's callback."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """Lightning's weight averaging with decay; validation, checkpoints' weights and generation use the average.

    It differs from ``lightning.pytorch.callbacks.EMAWeightAveraging`` in two ways that count for large networks:
    all weights are averaged in a few fused calls rather than one by one, and the average lives on the module's
    device rather than on the one where the module was built (the CPU).

    Args:
        decay: Share of the old average kept at a step; the average spans about 1 / (1 − decay) steps.
        every_n_steps: Average every so many optimizer steps.
        start_step: Optimizer step from which to average; until then the average is the start.
    """

    def __init__(self, decay: float = 0.9999, every_n_steps: int = 1, start_step: int = 0) -> None:
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.every_n_steps, self.start_step = every_n_steps, start_step

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to average after this optimizer step."""
        return step_idx is not None and step_idx >= self.start_step and step_idx % self.every_n_steps == 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the average to where the weights are."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)
