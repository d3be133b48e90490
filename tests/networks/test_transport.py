"""The path, the samplers' orders of accuracy, and the evaluations that guidance costs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from networks.transport import (
    GuidedVelocity,
    Sampler,
    Solver,
    choose_sampling,
    draw_times,
    evaluation_times,
    linear_path,
    sample,
    seeded_noise,
    segmented_grid,
    time_grid,
)
from networks.transport.samplers import Velocity


class CountingNetwork:
    """Velocity (label + 1)·sin(x)·(1 + t) that counts the samples it is evaluated for."""

    no_label = 9

    def __init__(self) -> None:
        self.evaluations = 0

    def __call__(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.evaluations += len(x)
        return (y + 1).view(-1, 1, 1, 1) * torch.sin(x) * (1 + t.view(-1, 1, 1, 1))


def always_both(network: CountingNetwork, labels: Tensor, scale: float, start: float) -> Velocity:
    """Guidance as published: both halves are computed at every step."""

    def velocity(t: float, x: Tensor) -> Tensor:
        time = x.new_full((len(x),), t)
        conditional, without = network(x, time, labels), network(x, time, torch.full_like(labels, 9))
        return conditional if t < start else without + scale * (conditional - without)

    return velocity


def test_discarded_half_is_not_computed() -> None:
    labels, noise = (
        torch.tensor([0, 1, 2]),
        torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0)),
    )
    lean, full = CountingNetwork(), CountingNetwork()
    result = sample(GuidedVelocity(lean, labels, 9, 4.0, 0.125), noise, num_steps=249, shift=0.3)
    expected = sample(always_both(full, labels, 4.0, 0.125), noise, num_steps=249, shift=0.3)
    assert_close(result, expected, rtol=1e-5, atol=1e-6)
    before = sum(t < 0.125 for t in time_grid(250, 0.3)[:-1])
    assert before > 249 / 4
    assert lean.evaluations == 3 * (before + 2 * (249 - before))
    assert full.evaluations == 3 * 2 * 249


def test_no_guidance_costs_one_evaluation_a_step() -> None:
    network = CountingNetwork()
    sample(GuidedVelocity(network, torch.tensor([0]), None), torch.zeros(1, 1, 1, 1), num_steps=10)
    assert network.evaluations == 10


@pytest.mark.parametrize("steps", [1, 2, 7, 250])
@pytest.mark.parametrize("method", ["multistep", "euler", "heun"])
def test_a_number_of_steps_is_a_number_of_evaluations(method: Solver, steps: int) -> None:
    network = CountingNetwork()
    noise = torch.zeros(1, 1, 1, 1)
    sample(GuidedVelocity(network, torch.tensor([0]), None), noise, method, steps, shift=0.3, breaks=(0.125, 0.45))
    assert network.evaluations == steps


@pytest.mark.parametrize(
    ("method", "steps", "expected"),
    [
        ("auto", None, ("multistep", 25)),
        ("auto", 10, ("multistep", 10)),
        ("multistep", None, ("multistep", 25)),
        ("euler", None, ("euler", 250)),
        ("heun", 20, ("heun", 20)),
    ],
)
def test_steps_follow_the_solver(method: Sampler, steps: int | None, expected: tuple[str, int]) -> None:
    assert choose_sampling(method, steps) == expected


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no solver 'auto'; choose from multistep"):
        sample(lambda t, x: x, torch.zeros(1), "auto")  # type: ignore[arg-type]


def test_guidance_costs_nothing_outside_of_its_interval() -> None:
    """With the grid on both ends of the interval, 25 evaluations are 25 and those of the steps within it."""
    network, noise = CountingNetwork(), torch.zeros(1, 1, 1, 1)
    guided = GuidedVelocity(network, torch.tensor([0]), 9, 4.0, interval_start=0.2, interval_end=0.6)
    assert guided.breaks == (0.2, 0.6)
    sample(guided, noise, "multistep", 25, breaks=guided.breaks)
    before, inside, after = (len(points) - 1 for points in segmented_grid(25, breaks=guided.breaks))
    assert (before, inside, after) == (9, 9, 7)
    assert network.evaluations == before + 2 * inside + after
    for t, expected in ((0.0, 1), (0.2, 2), (0.6, 1), (1.0, 1)):
        network.evaluations = 0
        guided(t, noise)
        assert network.evaluations == expected
    assert GuidedVelocity(network, torch.tensor([0]), 9, 1.0, interval_start=0.2).breaks == ()
    for always in (GuidedVelocity(network, torch.tensor([0]), 9, 4.0), GuidedVelocity(network, torch.tensor([0]), 9)):
        network.evaluations = 0
        assert always.breaks == ()
        always(1.0, noise)
        assert network.evaluations == (2 if always.scale != 1 else 1)


def test_segments_meet_at_the_breaks() -> None:
    segments = segmented_grid(25, breaks=(0.45, 0.125, 0.0, 1.0))
    assert [segment[0] for segment in segments] == [0.0, 0.125, 0.45]
    assert [segment[-1] for segment in segments] == [0.125, 0.45, 1.0]
    points = [*segments[0], *segments[1][1:], *segments[2][1:]]
    assert len(points) == 26
    assert points == sorted(set(points))
    assert [len(segment) for segment in segmented_grid(2, breaks=(0.1, 0.2, 0.3))] == [2, 2]
    assert segmented_grid(1, breaks=(0.1,)) == [[0.0, 1.0]]


def test_guided_channels() -> None:
    network, labels, x = CountingNetwork(), torch.tensor([1]), torch.ones(1, 4, 1, 1)
    unguided = GuidedVelocity(network, labels, 9)(0.5, x)
    everything = GuidedVelocity(network, labels, 9, 4.0)(0.5, x)
    first = GuidedVelocity(network, labels, 9, 4.0, guided_channels=3)(0.5, x)
    assert_close(first[:, :3], everything[:, :3])
    assert_close(first[:, 3:], unguided[:, 3:])
    assert not torch.allclose(everything, unguided)


def test_multistep_keeps_its_order_over_breaks() -> None:
    """The velocity jumps at 0.3; the exact end is exp(0.3 − 2 · 0.7)."""

    def end(steps: int, breaks: tuple[float, ...]) -> float:
        start = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        return float(sample(lambda t, x: x if t < 0.3 else -2 * x, start, "multistep", steps, breaks=breaks))

    errors = [abs(end(steps, (0.3,)) - math.exp(-1.1)) for steps in (320, 640)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert abs(end(640, ()) - math.exp(-1.1)) > 10 * errors[1]


def test_multistep_is_exact_where_the_velocity_is_linear_in_time() -> None:
    """Every step but the first of a segment; the corrector mends that one."""
    start = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    end = sample(lambda t, x: torch.full_like(x, 1 + 6 * t), start, "multistep", 7)
    assert end.item() == pytest.approx(4, rel=1e-12)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_order_of_accuracy(method: Solver, order: int) -> None:
    def error(steps: int) -> float:
        end = sample(lambda t, x: x * math.cos(t), torch.ones(1, 1, 1, 1, dtype=torch.float64), method, steps)
        return abs(float(end) - math.exp(math.sin(1)))

    assert error(320) / error(640) == pytest.approx(2**order, rel=0.1)


def test_dopri5_is_within_tolerance() -> None:
    end = sample(lambda t, x: x * math.cos(t), torch.ones(1, 1, 1, 1), "dopri5")
    assert end.item() == pytest.approx(math.exp(math.sin(1)), rel=1e-3)


def test_time_grid() -> None:
    assert time_grid(5) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert time_grid(3, 0.3) == pytest.approx([0, 0.15 / 0.65, 1])
    with pytest.raises(ValueError, match="at least 1"):
        sample(lambda t, x: x, torch.zeros(1), num_steps=0)


def test_path_runs_from_noise_to_data() -> None:
    data, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    at_ends, target = linear_path(data, noise, torch.tensor([0.0, 1.0]))
    assert_close(at_ends, torch.stack([noise[0], data[1]]))
    assert_close(target, data - noise)


def test_times() -> None:
    torch.manual_seed(0)
    normal = draw_times(20000, "logit_normal", torch.device("cpu")).logit()
    assert normal.mean().abs() < 0.03
    assert (normal.std() - 1).abs() < 0.03
    flat = draw_times(20000, "uniform", torch.device("cpu"))
    assert (flat.mean() - 0.5).abs() < 0.01
    assert (flat.var() - 1 / 12).abs() < 0.003


def test_evaluation_times_are_fixed_and_spread_over_the_distribution() -> None:
    indices = torch.arange(1000)
    flat = evaluation_times(indices, "uniform")
    assert torch.equal(flat[37:38], evaluation_times(indices[37:38], "uniform"))
    assert_close(flat.sort().values, (indices + 0.5) / 1000, rtol=0, atol=2e-3)
    normal = evaluation_times(indices, "logit_normal").logit()
    assert normal.mean().abs() < 0.01
    assert (normal.std() - 1).abs() < 0.02


def test_noise_depends_on_every_part_of_its_key() -> None:
    noise = [seeded_noise((4, 4), *key) for key in ((0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1, 3))]
    assert all(not torch.equal(noise[0], other) for other in noise[1:])
    assert torch.equal(noise[0], seeded_noise((4, 4), 0, 1, 2))


def test_guidance_needs_a_no_label_class() -> None:
    with pytest.raises(ValueError, match="no label"):
        GuidedVelocity(CountingNetwork(), torch.tensor([0]), None, scale=2.0)
