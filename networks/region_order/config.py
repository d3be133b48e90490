"""Settings of the region order network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegionOrderConfig:
    """Size of a `networks.region_order.RegionOrderNet`.

    Args:
        region_features: Measurements of each region.
        pair_features: Measurements of each adjacent pair.
        width: Channels of a region's embedding.
        depth: Blocks of attention, messages and MLP.
        num_heads: Attention heads; divides ``width``.
        dropout: Probability with which the outputs of a block's branches are zeroed in training.

    """

    region_features: int = 35
    pair_features: int = 28
    width: int = 64
    depth: int = 3
    num_heads: int = 4
    dropout: float = 0.1

    def check(self) -> None:
        """Check that the sizes fit together.

        Raises:
            ValueError: A size is below 1, or ``width`` is not a multiple of ``num_heads``.
        """
        sizes = (self.region_features, self.pair_features, self.width, self.depth, self.num_heads)
        if min(sizes) < 1 or not 0 <= self.dropout < 1:
            raise ValueError("sizes must be at least 1 and dropout in 0…1")
        if self.width % self.num_heads:
            raise ValueError(f"width ({self.width}) must be a multiple of num_heads ({self.num_heads})")
