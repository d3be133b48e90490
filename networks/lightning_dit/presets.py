"""Published sizes of LightningDiT by name, for ImageNet's 1000 classes."""

from __future__ import annotations

from networks.lightning_dit.config import LightningDiTConfig


def _preset(depth: int, hidden_size: int, num_heads: int, patch_size: int) -> LightningDiTConfig:
    return LightningDiTConfig(
        depth=depth, hidden_size=hidden_size, num_heads=num_heads, patch_size=patch_size, num_classes=1000
    )


PRESETS: dict[str, LightningDiTConfig] = {
    "LightningDiT-B/1": _preset(12, 768, 12, 1),
    "LightningDiT-B/2": _preset(12, 768, 12, 2),
    "LightningDiT-L/2": _preset(24, 1024, 16, 2),
    "LightningDiT-XL/1": _preset(28, 1152, 16, 1),
    "LightningDiT-XL/2": _preset(28, 1152, 16, 2),
    "LightningDiT-1p0B/1": _preset(24, 1536, 24, 1),
    "LightningDiT-1p0B/2": _preset(24, 1536, 24, 2),
    "LightningDiT-1p6B/1": _preset(28, 1792, 28, 1),
    "LightningDiT-1p6B/2": _preset(28, 1792, 28, 2),
}
