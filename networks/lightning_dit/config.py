"""Settings that shape a LightningDiT."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LightningDiTConfig:
    """Sizes and parts of LightningDiT; the default is the released XL/1.

    Args:
        input_size: Side of the latent grid, or its height if ``input_width`` is set; a multiple of ``patch_size``.
        input_width: Width of the latent grid, a multiple of ``patch_size``; None for a square.
        patch_size: Side of a patch, in latents.
        in_channels: Channels of a latent.
        hidden_size: Width of a token; a multiple of 4 and of ``num_heads``.
        depth: Number of blocks.
        num_heads: Number of attention heads.
        mlp_ratio: Hidden width of the MLP over ``hidden_size`` (SwiGLU takes two thirds of it).
        num_classes: Number of labels, without the "no label" row. None in training: take it from the data.
        class_dropout_prob: Probability of replacing a label by "no label" in training, which guidance needs; 0
            leaves that row out.
        learn_sigma: Give the output layer twice the channels, of which the second half is discarded.
        use_qknorm: Normalise queries and keys per head; steadier at high learning rates.
        use_swiglu: Use a gated MLP instead of GELU.
        use_rope: Use rotary positions on queries and keys.
        use_rmsnorm: Use RMSNorm instead of LayerNorm without affine parameters.
        wo_shift: Leave the shifts out of the blocks' modulation.
    """

    input_size: int = 16
    input_width: int | None = None
    patch_size: int = 1
    in_channels: int = 32
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_classes: int | None = None
    class_dropout_prob: float = 0.1
    learn_sigma: bool = False
    use_qknorm: bool = False
    use_swiglu: bool = True
    use_rope: bool = True
    use_rmsnorm: bool = True
    wo_shift: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the latent grid."""
        return self.input_size, self.input_size if self.input_width is None else self.input_width

    def check(self) -> None:
        """Check that the sizes fit together.

        Raises:
            ValueError: They do not fit.
        """
        sizes = {"input_size": self.input_size, "in_channels": self.in_channels, "hidden_size": self.hidden_size}
        for name, size in {**sizes, "depth": self.depth}.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        if not 0 < self.mlp_ratio < math.inf or int(2 / 3 * int(self.hidden_size * self.mlp_ratio)) < 1:
            raise ValueError(f"mlp_ratio must be above 0 and leave a channel, not {self.mlp_ratio}")
        if not 0 <= self.class_dropout_prob <= 1:
            raise ValueError(f"class_dropout_prob must be between 0 and 1, not {self.class_dropout_prob}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {self.num_classes}")
        for name, side in zip(("input_size", "input_width"), self.grid, strict=True):
            if self.patch_size < 1 or side < 1 or side % self.patch_size:
                raise ValueError(f"{name} {side} is not a multiple of patch_size {self.patch_size}")
        if self.num_heads < 1 or self.hidden_size % self.num_heads or self.hidden_size % 4:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 4 and of num_heads {self.num_heads}")
        if self.use_rope and self.hidden_size // self.num_heads % 4:
            head_dim = self.hidden_size // self.num_heads
            raise ValueError(f"rotary positions need a head width that is a multiple of 4, not {head_dim}")
