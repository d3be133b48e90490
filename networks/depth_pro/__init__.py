"""Depth Pro's network with a layer index at its end (Bochkovskii et al. 2024; Maruani et al., CVPR 2026)."""

from networks.depth_pro.model import LayerIndexNet
from networks.depth_pro.presets import PRESETS, layer_index_net

__all__ = ["PRESETS", "LayerIndexNet", "layer_index_net"]
