"""LightningDiT: a diffusion transformer over a grid of latents (Yao et al., CVPR 2025)."""

from networks.lightning_dit.config import LightningDiTConfig
from networks.lightning_dit.model import LightningDiT
from networks.lightning_dit.presets import PRESETS

__all__ = ["PRESETS", "LightningDiT", "LightningDiTConfig"]
