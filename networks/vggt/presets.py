"""VGGT's sizes by name."""

from __future__ import annotations

from typing import NamedTuple

from networks.vggt.model import VGGT


class Size(NamedTuple):
    """The arguments of :class:`VGGT` that make up a size, under their names there."""

    vit: str
    embed_dim: int
    depth: int
    num_heads: int
    dpt_layers: tuple[int, int, int, int]
    dpt_out_channels: tuple[int, int, int, int]
    dpt_features: int
    camera_depth: int
    camera_num_heads: int
    init_values: float


PRESETS: dict[str, Size] = {
    "VGGT-1B": Size(
        "dinov2_vitl14_reg", 1024, 24, 16, (4, 11, 17, 23), (256, 512, 1024, 1024), 256, 4, 16, init_values=0.01
    ),
    # For CPUs and tests, from random weights: few layers, with residual branches strong enough to learn at once.
    "tiny": Size("tiny", 192, 4, 3, (0, 1, 2, 3), (32, 64, 128, 128), 64, 2, 6, init_values=0.1),
    # Trained on simulated scenes on a CPU: at 112 pixels, most of the work is in the transformer.
    "small": Size("shallow", 128, 4, 4, (0, 1, 2, 3), (32, 32, 64, 64), 24, 2, 8, init_values=0.5),
}


def vggt(
    name: str,
    enable_camera: bool = True,
    enable_depth: bool = True,
    enable_point: bool = False,
    gradient_checkpointing: bool = False,
    frames_chunk_size: int = 8,
) -> VGGT:
    """Build a size by its name, with random weights.

    Args:
        name: A key of :data:`PRESETS`: ``"VGGT-1B"``, as published, or ``"tiny"``.
        enable_camera: Have a camera head.
        enable_depth: Have a depth head.
        enable_point: Have a point head.
        gradient_checkpointing: Recompute blocks and chunks in the backward pass, for memory.
        frames_chunk_size: Frames that go through a dense head at a time, for memory.

    Raises:
        ValueError: ``name`` is no preset.

    Example::

        network = vggt("tiny", enable_point=True)
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    size = PRESETS[name]
    return VGGT(
        vit=size.vit,
        embed_dim=size.embed_dim,
        depth=size.depth,
        num_heads=size.num_heads,
        dpt_layers=size.dpt_layers,
        dpt_out_channels=size.dpt_out_channels,
        dpt_features=size.dpt_features,
        enable_camera=enable_camera,
        enable_depth=enable_depth,
        enable_point=enable_point,
        camera_depth=size.camera_depth,
        camera_num_heads=size.camera_num_heads,
        init_values=size.init_values,
        gradient_checkpointing=gradient_checkpointing,
        frames_chunk_size=frames_chunk_size,
    )
