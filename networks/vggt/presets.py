"""Published and small sizes of VGGT by name."""

from __future__ import annotations

from networks.vggt.config import VGGTConfig

PRESETS: dict[str, VGGTConfig] = {
    "VGGT-1B": VGGTConfig(),
    # For CPUs and tests, from random weights: few layers, with residual branches strong enough to learn at once.
    "tiny": VGGTConfig(
        vit="tiny",
        embed_dim=192,
        depth=4,
        num_heads=3,
        dpt_layers=(0, 1, 2, 3),
        dpt_out_channels=(32, 64, 128, 128),
        dpt_features=64,
        camera_depth=2,
        camera_num_heads=6,
        init_values=0.1,
    ),
    # Trained on simulated scenes on one CPU core (configs/pair_simulated.yaml), at 112 pixels.
    "small": VGGTConfig(
        vit="shallow",
        embed_dim=128,
        depth=4,
        num_heads=4,
        dpt_layers=(0, 1, 2, 3),
        dpt_out_channels=(32, 32, 64, 64),
        dpt_features=24,
        camera_depth=2,
        camera_num_heads=8,
        init_values=0.5,
    ),
}
