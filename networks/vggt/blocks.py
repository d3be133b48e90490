"""Transformer block of VGGT's aggregator and camera head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.vggt.positions import rotate


class Attention(nn.Module):
    """Self-attention over all tokens, optionally with LayerNorm on queries and keys and rotary positions."""

    def __init__(self, channels: int, num_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads, head_dim = num_heads, channels // num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.q_norm: nn.Module = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rotary: tuple[Tensor, ...] | None) -> Tensor:
        """(N, T, channels) → (N, T, channels)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        result: Tensor = self.proj(out.transpose(1, 2).flatten(-2))
        return result


class MLP(nn.Module):
    """Two linears around an exact GELU."""

    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., out)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class LayerScale(nn.Module):
    """Learnable factor per channel of a residual branch."""

    def __init__(self, channels: int, init_values: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), init_values))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., channels)."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm attention and MLP, each with LayerScale."""

    def __init__(self, channels: int, num_heads: int, qk_norm: bool, init_values: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, num_heads, qk_norm)
        self.ls1 = LayerScale(channels, init_values)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels, channels)
        self.ls2 = LayerScale(channels, init_values)

    def forward(self, x: Tensor, rotary: tuple[Tensor, ...] | None = None) -> Tensor:
        """(N, T, channels) → (N, T, channels)."""
        x = x + self.ls1(self.attn(self.norm1(x), rotary))
        x = x + self.ls2(self.mlp(self.norm2(x)))
        return x


def needs_graph(module: nn.Module, *inputs: Tensor) -> bool:
    """Return whether autograd records ``module`` on ``inputs``: gradients are enabled and something requires one.

    If not, nothing is saved for the backward pass, so recomputing would save no memory.
    """
    return torch.is_grad_enabled() and (
        any(x.requires_grad for x in inputs) or any(p.requires_grad for p in module.parameters())
    )


def without_autocast(x: Tensor) -> torch.autocast:
    """Disable autocast on the device of ``x``, so that operations keep the type of their inputs."""
    device = x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"  # meta has none
    return torch.autocast(device, enabled=False)
