"""Settings that shape a VGGT."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class VGGTConfig:
    """Sizes and heads of VGGT; the default is the released VGGT-1B without its point head.

    Args:
        vit: Patch network, DINOv2 with registers: ``dinov2_vits14_reg``, ``dinov2_vitb14_reg``,
            ``dinov2_vitl14_reg``, or, not published, ``tiny`` and ``shallow``.
        embed_dim: Width of a token; must be that of the patch network.
        depth: Number of layers, each of one frame block and one global block.
        num_heads: Number of attention heads in these blocks.
        dpt_layers: The four layers that the dense heads read, counted from 0, in rising order.
        dpt_out_channels: Channels of the four levels of a dense head, the finest first; multiples of 4.
        dpt_features: Channels of the refinement in a dense head; a multiple of 8.
        enable_camera: Whether there is a camera head.
        enable_depth: Whether there is a depth head.
        enable_point: Whether there is a point head.
        camera_depth: Number of blocks in the camera head's trunk.
        camera_num_heads: Number of attention heads in the trunk; None takes ``num_heads``.
        init_values: Start value of LayerScale in all blocks but the patch network's; small values suit long
            training and published weights.
    """

    vit: str = "dinov2_vitl14_reg"
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    dpt_layers: tuple[int, int, int, int] = (4, 11, 17, 23)
    dpt_out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    dpt_features: int = 256
    enable_camera: bool = True
    enable_depth: bool = True
    enable_point: bool = False
    camera_depth: int = 4
    camera_num_heads: int | None = None
    init_values: float = 0.01

    @property
    def trunk_heads(self) -> int:
        """Number of attention heads in the camera head's trunk."""
        return self.num_heads if self.camera_num_heads is None else self.camera_num_heads

    def check(self) -> None:
        """Check that the sizes fit together; those of the patch network are checked where it is built.

        Raises:
            ValueError: They do not fit, or no head is enabled.
        """
        for name in ("embed_dim", "depth", "num_heads", "camera_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not math.isfinite(self.init_values):
            raise ValueError(f"init_values must be finite, not {self.init_values}")
        layers = tuple(self.dpt_layers)
        if len(layers) != 4 or list(layers) != sorted(set(layers) & set(range(self.depth))):
            raise ValueError(f"dpt_layers must be four rising layers in 0…{self.depth - 1}, not {layers}")
        channels = tuple(self.dpt_out_channels)
        if len(channels) != 4 or any(c < 1 or c % 4 for c in channels):
            raise ValueError(f"dpt_out_channels must be four multiples of 4, not {channels}")
        if self.dpt_features < 1 or self.dpt_features % 8:
            raise ValueError(f"dpt_features must be a multiple of 8, not {self.dpt_features}")
        if self.trunk_heads < 1 or 2 * self.embed_dim % self.trunk_heads:
            raise ValueError(
                f"camera_num_heads must divide 2 · embed_dim = {2 * self.embed_dim}, which {self.trunk_heads} does not"
            )
        if not (self.enable_camera or self.enable_depth or self.enable_point):
            raise ValueError("VGGT needs a head: enable the camera, depth or point head")
