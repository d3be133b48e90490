"""Flow matching on the linear path from noise to data: training times, guidance and samplers (SiT, Ma et al. 2024)."""

from networks.transport.gaussian_mixture import GaussianMixtureVelocity
from networks.transport.guidance import GuidedVelocity
from networks.transport.path import TimeDistribution, draw_times, evaluation_times, linear_path, seeded_noise
from networks.transport.samplers import (
    Sampler,
    Solver,
    Velocity,
    choose_sampling,
    sample,
    segmented_grid,
    time_grid,
)

__all__ = [
    "GaussianMixtureVelocity",
    "GuidedVelocity",
    "Sampler",
    "Solver",
    "TimeDistribution",
    "Velocity",
    "choose_sampling",
    "draw_times",
    "evaluation_times",
    "linear_path",
    "sample",
    "seeded_noise",
    "segmented_grid",
    "time_grid",
]
