from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from losses.flow_matching import direction_loss, velocity_loss


def test_losses_of_known_vectors() -> None:
    target = torch.zeros(2, 2, 3, 3)
    target[:, 0] = 2.0
    same, opposite, across = target.clone(), -target, target.flip(1)
    assert_close(velocity_loss(same, target), torch.zeros(2))
    assert_close(velocity_loss(opposite, target), torch.full((2,), 8.0))
    for velocity, expected in ((same, 0.0), (opposite, 2.0), (across, 1.0), (5 * same, 0.0)):
        assert direction_loss(velocity, target).tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    velocity = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(velocity_loss, (velocity, target))
    assert torch.autograd.gradcheck(direction_loss, (velocity, target))
