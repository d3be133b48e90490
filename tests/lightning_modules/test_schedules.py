from __future__ import annotations

import pytest
import torch

from lightning_modules.schedules import warmup_cosine


def rates(steps: int, total_steps: int, warmup_steps: int = 0, final_ratio: float = 0.0) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = warmup_cosine(optimizer, total_steps, warmup_steps, final_ratio)
    found = []
    for _ in range(steps):
        found.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return found


def test_warm_up_then_half_a_cosine() -> None:
    found = rates(15, total_steps=13, warmup_steps=3, final_ratio=0.1)
    assert found[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert found[8] == pytest.approx(2 * (0.1 + 0.9 / 2))  # half-way between steps 3 and 13
    assert found[13:] == pytest.approx([0.2, 0.2])  # stays at the end


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert rates(1, total_steps=10) == [2.0]
