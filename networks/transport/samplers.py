"""Solvers of dx/dt = v(t, x) from noise at t = 0 to data at t = 1."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
import torchdiffeq
from torch import Tensor

Sampler = Literal["euler", "heun", "dopri5"]
Velocity = Callable[[float, Tensor], Tensor]


def time_grid(num_points: int, shift: float = 0.0) -> list[float]:
    """Return grid points in [0, 1], shifted by t ← s·t / (1 + (s − 1)·t) for a ``shift`` s > 0.

    The published s = 0.3 puts more of the points near the noise. They are computed in float32, as published, since
    the last digit decides on which side of the start of the guidance interval a point is.

    Example::

        >>> time_grid(3)
        [0.0, 0.5, 1.0]

    """
    t = torch.linspace(0, 1, num_points)
    if shift > 0:
        t = shift * t / (1 + (shift - 1) * t)
    return t.tolist()


def sample(
    velocity: Velocity,
    noise: Tensor,
    method: Sampler = "euler",
    num_steps: int = 250,
    shift: float = 0.0,
    absolute_tolerance: float = 1e-6,
    relative_tolerance: float = 1e-3,
) -> Tensor:
    """Integrate the velocity from ``noise`` (B, C, H, W) at t = 0 to t = 1.

    Args:
        velocity: ``(t, x) -> dx/dt``, such as :class:`GuidedVelocity`.
        noise: Standard normal start.
        method: ``euler`` (one evaluation per interval of the grid), ``heun`` (second order, two evaluations per
            interval) or ``dopri5`` (adaptive; the step size follows the hardest sample, so that a sample depends on
            its batch within the tolerance).
        num_steps: Evaluations of the velocity for the fixed-step methods. Of an odd number, heun spends the last one
            on an Euler step. The published grid of 250 points is 249 evaluations of euler.
        shift: Time shift for the fixed-step methods; 0 for none, published 0.3.
        absolute_tolerance: Absolute tolerance of dopri5.
        relative_tolerance: Relative tolerance of dopri5.

    Returns:
        Latents (B, C, H, W).

    Raises:
        ValueError: Fewer than 1 evaluation.
    """
    if method == "dopri5":
        ends = torch.tensor([0.0, 1.0], device=noise.device)
        path = torchdiffeq.odeint(
            lambda t, x: velocity(float(t), x),
            noise,
            ends,
            method="dopri5",
            atol=absolute_tolerance,
            rtol=relative_tolerance,
        )
        final: Tensor = path[-1]
        return final
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}")
    intervals = num_steps if method == "euler" else (num_steps + 1) // 2
    x, evaluations = noise, 0
    for start, end in itertools.pairwise(time_grid(intervals + 1, shift)):
        step = end - start
        slope = velocity(start, x)
        evaluations += 1
        if method == "heun" and evaluations < num_steps:
            slope = (slope + velocity(end, x + step * slope)) / 2
            evaluations += 1
        x = x + step * slope
    return x
