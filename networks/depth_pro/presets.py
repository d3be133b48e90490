"""Sizes of the layer index network by name."""

from __future__ import annotations

from typing import NamedTuple

from networks.depth_pro.model import LayerIndexNet


class Size(NamedTuple):
    """The arguments of :class:`LayerIndexNet` that make up a size, under their names there."""

    vit: str
    embed_dim: int
    depth: int
    num_heads: int
    hook_blocks: tuple[int, int]
    encoder_dims: tuple[int, int, int, int]
    decoder_features: int
    window: int
    init_values: float | None


PRESETS: dict[str, Size] = {
    "DepthPro-L": Size(
        "vit_large_patch14_dinov2", 1024, 24, 16, (5, 11), (256, 512, 1024, 1024), 256, 384, init_values=None
    ),
    # For CPUs and tests, from random weights: small windows, and residual branches at full strength.
    "tiny": Size("vit_small_patch14_dinov2", 192, 4, 3, (0, 2), (32, 48, 64, 64), 32, 96, init_values=1.0),
}


def layer_index_net(
    size: str,
    *,
    gradient_checkpointing: bool = False,
    window_chunk_size: int | None = None,
) -> LayerIndexNet:
    """Build a size by its name, with random weights.

    Args:
        size: A key of :data:`PRESETS`: ``"DepthPro-L"``, as published, for images of 1536 pixels, or ``"tiny"``,
            for images of 384.
        gradient_checkpointing: Recompute blocks in the backward pass, for memory.
        window_chunk_size: Windows that go through the patch encoder at a time, for memory; None for all.

    Raises:
        ValueError: ``size`` is no preset.

    Example::

        network = layer_index_net("DepthPro-L", gradient_checkpointing=True)
    """
    if size not in PRESETS:
        raise ValueError(f"no preset {size!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[size]
    return LayerIndexNet(
        vit=preset.vit,
        embed_dim=preset.embed_dim,
        depth=preset.depth,
        num_heads=preset.num_heads,
        hook_blocks=preset.hook_blocks,
        encoder_dims=preset.encoder_dims,
        decoder_features=preset.decoder_features,
        window=preset.window,
        init_values=preset.init_values,
        gradient_checkpointing=gradient_checkpointing,
        window_chunk_size=window_chunk_size,
    )
