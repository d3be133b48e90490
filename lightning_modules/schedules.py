"""Learning rate schedules."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final_ratio: float = 0.0) -> LambdaLR:
    """Linear warm-up to the optimiser's learning rates, then a half cosine down to ``final_ratio`` of them.

    After ``total_steps`` the rates stay at the end of the cosine.
    """
    final_ratio = float(final_ratio)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return final_ratio + (1 - final_ratio) * (1 + math.cos(math.pi * min(1.0, progress))) / 2

    return LambdaLR(optimizer, factor)
