"""Settings that shape the layer index network."""

from __future__ import annotations

import math
from dataclasses import dataclass

PATCH_SIZE = 16  # pixels per side of a token


@dataclass(frozen=True)
class DepthProConfig:
    """Sizes of Depth Pro with a layer index head; the default is Depth Pro as published.

    Args:
        vit: Name of a ViT in timm, with patches of 16 pixels; both ViTs are built from it.
        embed_dim: Width of a token.
        depth: Number of blocks of each ViT.
        num_heads: Number of attention heads.
        hook_blocks: Two blocks, counted from 0, in rising order, whose output over the full-resolution windows makes
            the finest and the second finest level.
        encoder_dims: Channels of the levels before the decoder: the two finest, the third, fourth and fifth.
        decoder_features: Channels of the decoder, an even number.
        window: Side of a window in pixels, a multiple of 16, at least 32; images have four times that side.
        init_values: Start value of LayerScale in the ViTs; None takes that of ``vit``, which for DINOv2 is 1e-5 and
            suits published weights. Networks with random weights learn faster with 1.0.
    """

    vit: str = "vit_large_patch14_dinov2"
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    hook_blocks: tuple[int, int] = (5, 11)
    encoder_dims: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    decoder_features: int = 256
    window: int = 384
    init_values: float | None = None

    def check(self) -> None:
        """Check that the sizes fit together; the name of the ViT is checked where it is built.

        Raises:
            ValueError: They do not fit.
        """
        for name in ("embed_dim", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.init_values is not None and not math.isfinite(self.init_values):
            raise ValueError(f"init_values must be null or finite, not {self.init_values}")
        if self.num_heads < 1 or self.embed_dim % self.num_heads:
            raise ValueError(f"num_heads must divide embed_dim = {self.embed_dim}, which {self.num_heads} does not")
        hooks = tuple(self.hook_blocks)
        if len(hooks) != 2 or not 0 <= hooks[0] < hooks[1] < self.depth:
            raise ValueError(f"hook_blocks must be two rising blocks in 0…{self.depth - 1}, not {hooks}")
        channels = tuple(self.encoder_dims)
        if len(channels) != 4 or min(channels) < 1:
            raise ValueError(f"encoder_dims must be four numbers of channels, not {channels}")
        if self.decoder_features < 2 or self.decoder_features % 2:
            raise ValueError(f"decoder_features must be an even number, not {self.decoder_features}")
        if self.window < 2 * PATCH_SIZE or self.window % PATCH_SIZE:
            fault = f"window must be a multiple of {PATCH_SIZE} and at least {2 * PATCH_SIZE}"
            raise ValueError(f"{fault}, such as 96, 128 or 384, not {self.window}")
