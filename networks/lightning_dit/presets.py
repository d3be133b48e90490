"""The published sizes of LightningDiT by name."""

from __future__ import annotations

from typing import NamedTuple

from networks.lightning_dit.model import LightningDiT


class Size(NamedTuple):
    """Depth (blocks), width (channels), attention heads and patch side (latents) of a preset."""

    depth: int
    hidden_size: int
    num_heads: int
    patch_size: int


PRESETS: dict[str, Size] = {
    "LightningDiT-B/1": Size(12, 768, 12, 1),
    "LightningDiT-B/2": Size(12, 768, 12, 2),
    "LightningDiT-L/2": Size(24, 1024, 16, 2),
    "LightningDiT-XL/1": Size(28, 1152, 16, 1),
    "LightningDiT-XL/2": Size(28, 1152, 16, 2),
    "LightningDiT-1p0B/1": Size(24, 1536, 24, 1),
    "LightningDiT-1p0B/2": Size(24, 1536, 24, 2),
    "LightningDiT-1p6B/1": Size(28, 1792, 28, 1),
    "LightningDiT-1p6B/2": Size(28, 1792, 28, 2),
}


def lightning_dit(
    name: str, num_classes: int = 1000, input_size: int = 16, in_channels: int = 32, learn_sigma: bool = False
) -> LightningDiT:
    """Build a published size, with the released XL/1's SwiGLU, rotary positions and RMSNorm.

    Args:
        name: A key of :data:`PRESETS`, such as ``"LightningDiT-XL/1"``.
        num_classes: Number of labels, without the "no label" row.
        input_size: Side of the latent grid.
        in_channels: Channels of a latent.
        learn_sigma: Whether the network also predicts (and discards) a variance.

    Raises:
        ValueError: ``name`` is no preset.

    Example::

        network = lightning_dit("LightningDiT-B/1", num_classes=12)
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    size = PRESETS[name]
    return LightningDiT(
        input_size=input_size,
        patch_size=size.patch_size,
        in_channels=in_channels,
        hidden_size=size.hidden_size,
        depth=size.depth,
        num_heads=size.num_heads,
        num_classes=num_classes,
        learn_sigma=learn_sigma,
    )
