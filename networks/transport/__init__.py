"""Flow matching on the linear path from noise to data: training times, guidance and samplers (SiT, Ma et al. 2024)."""

from networks.transport.gaussian_mixture import GaussianMixtureVelocity
from networks.transport.guidance import GuidedVelocity
from networks.transport.path import TimeDistribution, draw_times, evaluation_times, linear_path, seeded_noise
from networks.transport.samplers import Sampler, Velocity, sample, time_grid

__all__ = [
    "GaussianMixtureVelocity",
    "GuidedVelocity",
    "Sampler",
    "TimeDistribution",
    "Velocity",
    "draw_times",
    "evaluation_times",
    "linear_path",
    "sample",
    "seeded_noise",
    "time_grid",
]
