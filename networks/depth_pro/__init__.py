"""Depth Pro's network with a layer index head (Bochkovskii et al. 2024; Maruani et al., CVPR 2026)."""

from networks.depth_pro.config import DepthProConfig
from networks.depth_pro.model import LayerIndexNet
from networks.depth_pro.presets import PRESETS

__all__ = ["PRESETS", "DepthProConfig", "LayerIndexNet"]
