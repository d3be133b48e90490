"""Published and small sizes of the layer index network by name."""

from __future__ import annotations

from networks.depth_pro.config import DepthProConfig

PRESETS: dict[str, DepthProConfig] = {
    "DepthPro-L": DepthProConfig(),  # for images of 1536 pixels
    # For CPUs and tests, from random weights: images of 384 pixels, residual branches strong enough to learn at once.
    "tiny": DepthProConfig(
        vit="vit_small_patch14_dinov2",
        embed_dim=192,
        depth=4,
        num_heads=3,
        hook_blocks=(0, 2),
        encoder_dims=(32, 48, 64, 64),
        decoder_features=32,
        window=96,
        init_values=1.0,
    ),
}
