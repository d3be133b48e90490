"""VGGT: cameras, depth and points of a scene from its images, in one pass (Wang et al., CVPR 2025)."""

from networks.vggt.config import VGGTConfig
from networks.vggt.model import VGGT, VGGTOutput
from networks.vggt.presets import PRESETS

__all__ = ["PRESETS", "VGGT", "VGGTConfig", "VGGTOutput"]
