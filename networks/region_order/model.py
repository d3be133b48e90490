"""Order of regions from their measurements: attention among all regions, messages between adjacent ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.region_order.config import RegionOrderConfig


class RegionOrderNet(nn.Module):
    """Give every region of an image a height, larger in front, and every adjacent pair a logit.

    Each block lets all regions of an image attend to one another, sends messages between adjacent regions that
    depend on the measurements of the pair, and applies an MLP. All images of a batch are processed together; rows
    beyond an image's number of regions are padding.

    Example::

        >>> config = RegionOrderConfig(region_features=5, pair_features=3, width=8, depth=1, num_heads=2)
        >>> network = RegionOrderNet(config)
        >>> pairs = torch.tensor([[0, 1], [1, 2]])  # rows of the flattened (B · N) regions
        >>> mask = torch.ones(1, 3, dtype=torch.bool)
        >>> heights, logits = network(torch.zeros(1, 3, 5), mask, pairs, torch.zeros(2, 3), torch.zeros(2, 3))
        >>> heights.shape, logits.shape
        (torch.Size([1, 3]), torch.Size([2]))

    Args:
        config: Size of the network.
    """

    def __init__(self, config: RegionOrderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RegionOrderConfig()
        config.check()
        self.region_mean = nn.Buffer(torch.zeros(config.region_features))
        self.region_scale = nn.Buffer(torch.ones(config.region_features))
        self.pair_mean = nn.Buffer(torch.zeros(config.pair_features))
        self.pair_scale = nn.Buffer(torch.ones(config.pair_features))
        self.embed_region = _mlp(config.region_features, config.width)
        self.embed_pair = _mlp(config.pair_features, config.width // 2)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.height = nn.Linear(config.width, 1)
        self.pair = _mlp(2 * config.width + config.width // 2, 1, config.width)

    def set_statistics(self, regions: Tensor, pairs: Tensor) -> None:
        """Take the mean and spread that inputs are normalised with from data.

        Args:
            regions: (K, region_features).
            pairs: (L, pair_features).
        """
        for mean, scale, values in (
            (self.region_mean, self.region_scale, regions),
            (self.pair_mean, self.pair_scale, pairs),
        ):
            mean.copy_(values.mean(0))
            scale.copy_(values.std(0).clamp(min=1e-3))

    def forward(
        self, regions: Tensor, mask: Tensor, pairs: Tensor, pair_features: Tensor, swapped_features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return heights (B, N), and logits (P,) that the first region of a pair is in front of the second.

        Args:
            regions: (B, N, region_features).
            mask: (B, N) bool, False in padding.
            pairs: (P, 2) adjacent regions, as rows of the flattened (B · N).
            pair_features: (P, pair_features), of the first region against the second.
            swapped_features: (P, pair_features), of the second against the first.
        """
        x = self.embed_region(_normalised(regions, self.region_mean, self.region_scale))
        both = torch.cat([pair_features, swapped_features])
        edges = self.embed_pair(_normalised(both, self.pair_mean, self.pair_scale))
        first, second = torch.cat([pairs, pairs.flip(1)]).T
        for block in self.blocks:
            x = block(x, mask, first, second, edges)
        x = self.norm(x)
        flat = x.flatten(0, 1)
        forward, backward = self.pair(torch.cat([flat[first], flat[second], edges], 1))[:, 0].chunk(2)
        return self.height(x)[..., 0], forward - backward


class _Block(nn.Module):
    def __init__(self, config: RegionOrderConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.message = _mlp(2 * width + width // 2, width)
        self.mlp = _mlp(width, width, 2 * width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, first: Tensor, second: Tensor, edges: Tensor) -> Tensor:
        batch, count = mask.shape
        qkv = self.qkv(self.norms[0](x)).view(batch, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask[:, None, None])
        x = x + self.dropout(self.project(attended.transpose(1, 2).reshape(x.shape)))
        flat = self.norms[1](x).flatten(0, 1)
        messages = self.message(torch.cat([flat[first], flat[second], edges], 1))
        total = torch.zeros_like(flat).index_add(0, first, messages.to(flat.dtype))
        degree = torch.zeros_like(flat[:, 0]).index_add(0, first, torch.ones_like(flat[first, 0]))
        x = x + self.dropout((total / degree.clamp(min=1).sqrt()[:, None]).view(x.shape))
        output: Tensor = x + self.dropout(self.mlp(self.norms[2](x)))
        return output


def _normalised(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((values - mean) / scale).clamp(-6, 6)


def _mlp(inputs: int, outputs: int, hidden: int | None = None) -> nn.Sequential:
    hidden = hidden or outputs
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
