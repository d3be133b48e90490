"""The linear path from noise to data, and the ways along it (flow matching; SiT, Ma et al. 2024)."""

from networks.transport.guidance import GuidedVelocity
from networks.transport.path import draw_times, linear_path
from networks.transport.samplers import sample, time_grid

__all__ = ["GuidedVelocity", "draw_times", "linear_path", "sample", "time_grid"]
