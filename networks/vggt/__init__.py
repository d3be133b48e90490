"""VGGT: cameras, depth and points of a scene from its images, in one pass (Wang et al., CVPR 2025)."""

from networks.vggt.model import VGGT, VGGTOutput
from networks.vggt.presets import PRESETS, vggt

__all__ = ["PRESETS", "VGGT", "VGGTOutput", "vggt"]
