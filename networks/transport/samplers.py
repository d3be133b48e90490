"""Solvers of dx/dt = v(t, x) from noise at t = 0 to data at t = 1."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
import torchdiffeq
from torch import Tensor

Sampler = Literal["auto", "multistep", "euler", "heun", "dopri5"]
Solver = Literal["multistep", "euler", "heun", "dopri5"]
Velocity = Callable[[float, Tensor], Tensor]
_EXPONENT_AT_NOISE, _EXPONENT_AFTER_BREAK, _SHARE_EXPONENT = 1.25, 1.75, 0.68


def choose_sampling(method: Sampler, num_steps: int | None = None) -> tuple[Solver, int]:
    """Return the solver that ``auto`` means, and the number of steps that suits the solver where it is None.

    ``auto`` is ``multistep``: with 25 evaluations it is as close to the exact solution as Euler's method with the
    published 250, see ``benchmarks/results/sampling_cpu.json``.

    Example::

        >>> choose_sampling("auto")
        ('multistep', 25)
        >>> choose_sampling("euler")
        ('euler', 250)

    """
    solver: Solver = "multistep" if method == "auto" else method
    if num_steps is None:
        num_steps = 25 if solver == "multistep" else 250
    return solver, num_steps


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


def segmented_grid(num_intervals: int, breaks: Sequence[float] = ()) -> list[list[float]]:
    """Return the grid points in [0, 1] of each segment between ``breaks``, where the velocity is discontinuous.

    Within a segment, points are denser at the start, where a multistep method knows no slopes yet, and where the
    velocity changes most: next to the noise, and where guidance begins. The first segments have more of the intervals
    than of the time. The exponents were chosen by ``benchmarks/sampling.py``. Where there are fewer intervals than
    segments, the last breaks are not on the grid.

    Args:
        num_intervals: Intervals of all segments together, at least 1.
        breaks: Times; those outside of (0, 1) are ignored.

    Example::

        >>> [[round(time, 2) for time in segment] for segment in segmented_grid(5, breaks=[0.2])]
        [[0.0, 0.08, 0.2], [0.2, 0.32, 0.59, 1.0]]

    """
    times = [0.0, *sorted({time for time in breaks if 0 < time < 1})[: num_intervals - 1], 1.0]
    lengths = [end**_SHARE_EXPONENT - start**_SHARE_EXPONENT for start, end in itertools.pairwise(times)]
    counts = [1] * len(lengths)
    while sum(counts) < num_intervals:
        counts[max(range(len(lengths)), key=lambda segment: lengths[segment] / (counts[segment] + 0.5))] += 1
    segments = []
    for (start, end), count in zip(itertools.pairwise(times), counts, strict=True):
        exponent = _EXPONENT_AFTER_BREAK if start > 0 else _EXPONENT_AT_NOISE
        inner = [start + (end - start) * (k / count) ** exponent for k in range(1, count)]
        segments.append([start, *inner, end])
    return segments


def sample(
    velocity: Velocity,
    noise: Tensor,
    method: Solver = "euler",
    num_steps: int = 250,
    shift: float = 0.0,
    breaks: Sequence[float] = (),
    absolute_tolerance: float = 1e-6,
    relative_tolerance: float = 1e-3,
) -> Tensor:
    """Integrate the velocity from ``noise`` (B, C, H, W) at t = 0 to t = 1.

    Args:
        velocity: ``(t, x) -> dx/dt``, such as :class:`GuidedVelocity`.
        noise: Standard normal start.
        method: ``multistep`` (second order, one evaluation per interval), ``euler`` (first order, one evaluation per
            interval of the grid), ``heun`` (second order, two evaluations per interval) or ``dopri5`` (adaptive; the
            step size follows the hardest sample, so that a sample depends on its batch within the tolerance).
        num_steps: Evaluations of the velocity for the fixed-step methods. Of an odd number, heun spends the last one
            on an Euler step. The published grid of 250 points is 249 evaluations of euler.
        shift: Time shift of the grid of euler and heun; 0 for none, published 0.3.
        breaks: Times where the velocity is discontinuous, such as the start of guidance. ``multistep`` puts grid points
            there, and uses no slopes from before them after them; the other methods ignore them, as published.
        absolute_tolerance: Absolute tolerance of dopri5.
        relative_tolerance: Relative tolerance of dopri5.

    Returns:
        Latents (B, C, H, W).

    Raises:
        ValueError: Fewer than 1 evaluation, or a method that is not a solver.
    """
    if method not in get_args(Solver):
        raise ValueError(f"there is no solver '{method}'; choose from {', '.join(get_args(Solver))}")
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
    if method == "multistep":
        return _multistep(velocity, noise, segmented_grid(num_steps, breaks))
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


def _multistep(velocity: Velocity, noise: Tensor, segments: Sequence[Sequence[float]]) -> Tensor:
    """Integrate by the Adams method of second order that predicts, evaluates and corrects.

    A step of Adams and Bashforth extrapolates the slopes of its start and of the step before. The slope at its end
    is needed for the next step anyway; with it the trapezoidal rule corrects the step first, which costs nothing and
    leaves a fifth of the error. The first step of a segment is one of Euler's method, which the correction raises to
    second order.

    Source: Hairer, Nørsett and Wanner, "Solving Ordinary Differential Equations I", section III.1; a corrector without
    evaluations of its own as in UniPC (Zhao et al. 2023).
    """
    x = noise
    for points in segments:
        previous_slope, previous_step = None, 0.0
        corrected = x
        for start, end in itertools.pairwise(points):
            slope, step = velocity(start, x), end - start
            if previous_slope is None:
                x = corrected + step * slope
            else:
                corrected = corrected + previous_step / 2 * (previous_slope + slope)
                x = corrected + step * (slope + step / previous_step / 2 * (slope - previous_slope))
            previous_slope, previous_step = slope, step
    return x
