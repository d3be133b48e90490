"""The LightningDiT network: embeddings, blocks and final layer.

Source: Yao, Yang and Wang, "Reconstruction vs. Generation: Taming Optimization Dilemma in Latent Diffusion
Models", CVPR 2025; DiT: Peebles and Xie, arXiv 2212.09748. Tensor names are the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from networks.checkpoints import PublishedTensor, same_names
from networks.lightning_dit.config import LightningDiTConfig
from networks.lightning_dit.positions import TimeEmbedding, rotary_tables, rotate, sincos_table


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight; statistics in float32 for any input type."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of x (..., channels)."""
        return F.rms_norm(x.float(), self.weight.shape, eps=self.eps).type_as(x) * self.weight


class LabelEmbedding(nn.Module):
    """Table of label vectors; with dropout it has an extra last row that means "no label"."""

    def __init__(self, num_classes: int, hidden_size: int, dropout_prob: float) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + (dropout_prob > 0), hidden_size)
        self.num_classes, self.dropout_prob = num_classes, dropout_prob

    def forward(self, y: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Embed y (B,) as (B, hidden_size); in training, labels become "no label" with ``dropout_prob``.

        ``uniform`` are random numbers (B,) in 0…1 that decide it; None draws them.
        """
        if self.training and self.dropout_prob > 0:
            uniform = torch.rand(y.shape, device=y.device) if uniform is None else uniform
            y = torch.where(uniform < self.dropout_prob, self.num_classes, y)
        embedding: Tensor = self.embedding_table(y)
        return embedding


class SwiGLU(nn.Module):
    """Gated MLP: silu(first half) · second half; the two input projections are one matrix product."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(channels, 2 * hidden)
        self.w3 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., channels)."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(gate) * value)
        return out


class MLP(nn.Module):
    """Two linears around a tanh-approximated GELU."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., channels)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return out


class Attention(nn.Module):
    """Self-attention over all tokens, optionally with QK-norm and rotary positions."""

    def __init__(self, channels: int, num_heads: int, use_qknorm: bool, use_rmsnorm: bool) -> None:
        super().__init__()
        self.num_heads, head_dim = num_heads, channels // num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        norm = RMSNorm if use_rmsnorm else nn.LayerNorm
        self.q_norm: nn.Module = norm(head_dim) if use_qknorm else nn.Identity()
        self.k_norm: nn.Module = norm(head_dim) if use_qknorm else nn.Identity()
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, T, channels) → (B, T, channels)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        attended = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(-2))
        return out


def _norm(channels: int, use_rmsnorm: bool) -> nn.Module:
    return RMSNorm(channels) if use_rmsnorm else nn.LayerNorm(channels, eps=1e-6, elementwise_affine=False)


def _modulate(x: Tensor, shift: Tensor | None, scale: Tensor) -> Tensor:
    x = x * (1 + scale.unsqueeze(1))
    return x if shift is None else x + shift.unsqueeze(1)


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition (adaLN-zero)."""

    def __init__(self, config: LightningDiTConfig) -> None:
        super().__init__()
        channels, hidden = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
        self.norm1 = _norm(channels, config.use_rmsnorm)
        self.norm2 = _norm(channels, config.use_rmsnorm)
        self.attn = Attention(channels, config.num_heads, config.use_qknorm, config.use_rmsnorm)
        self.mlp = SwiGLU(channels, int(2 / 3 * hidden)) if config.use_swiglu else MLP(channels, hidden)
        self.wo_shift = config.wo_shift
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, (4 if self.wo_shift else 6) * channels))

    def forward(self, x: Tensor, c: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """Tokens x (B, T, channels) under the condition c (B, channels)."""
        modulation = self.adaLN_modulation(c)
        shift1: Tensor | None = None
        shift2: Tensor | None = None
        if self.wo_shift:
            scale1, gate1, scale2, gate2 = modulation.chunk(4, dim=1)
        else:
            shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attn(_modulate(self.norm1(x), shift1, scale1), rotary)
        out: Tensor = x + gate2.unsqueeze(1) * self.mlp(_modulate(self.norm2(x), shift2, scale2))
        return out


class FinalLayer(nn.Module):
    """Norm, modulation, and the linear map from a token to its patch of latents."""

    def __init__(self, channels: int, out_features: int, use_rmsnorm: bool) -> None:
        super().__init__()
        self.norm_final = _norm(channels, use_rmsnorm)
        self.linear = nn.Linear(channels, out_features)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 2 * channels))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(B, T, channels) → (B, T, out_features)."""
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        patches: Tensor = self.linear(_modulate(self.norm_final(x), shift, scale))
        return patches


class PatchEmbedding(nn.Module):
    """Non-overlapping patches of latents as tokens, in row-major order."""

    def __init__(self, in_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, T, channels)."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class RotaryTables(nn.Module):
    """Rotary tables under their published names."""

    def __init__(self, head_dim: int, height: int, width: int) -> None:
        super().__init__()
        cos, sin = rotary_tables(head_dim, height, width)
        self.register_buffer("freqs_cos", cos)
        self.register_buffer("freqs_sin", sin)


class LightningDiT(nn.Module):
    """Predict the velocity of a latent at a time, given a label.

    Args:
        config: Sizes and parts of the network.
        gradient_checkpointing: Recompute each block in the backward pass to save memory; can be changed later.

    Raises:
        ValueError: The sizes do not fit together, or ``num_classes`` is None.

    Example::

        >>> config = LightningDiTConfig(hidden_size=64, depth=2, num_heads=2, num_classes=5)
        >>> network = LightningDiT(config)
        >>> velocity = network(torch.randn(2, 32, 16, 16), torch.rand(2), torch.tensor([0, 4]))
        >>> velocity.shape
        torch.Size([2, 32, 16, 16])
    """

    published_dropped: ClassVar[Mapping[str, str]] = {}
    published_computed: ClassVar[tuple[str, ...]] = (r"pos_embed", r"feat_rope\..*")
    published_restartable: ClassVar[tuple[str, ...]] = ("y_embedder.embedding_table.weight",)

    def __init__(self, config: LightningDiTConfig, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        config.check()
        if config.num_classes is None:
            raise ValueError("num_classes must be set to build a network")
        self.config, self.gradient_checkpointing = config, gradient_checkpointing
        self.num_classes = config.num_classes
        self.out_channels = config.in_channels * (2 if config.learn_sigma else 1)

        width, sides = config.hidden_size, [side // config.patch_size for side in config.grid]
        self.x_embedder = PatchEmbedding(config.in_channels, width, config.patch_size)
        self.t_embedder = TimeEmbedding(width)
        self.y_embedder = LabelEmbedding(config.num_classes, width, config.class_dropout_prob)
        self.register_buffer("pos_embed", sincos_table(width, *sides))
        self.feat_rope = RotaryTables(width // config.num_heads, *sides) if config.use_rope else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(width, config.patch_size**2 * self.out_channels, config.use_rmsnorm)
        self.reset_parameters()

    @property
    def no_label(self) -> int:
        """Index of the label that means "no label".

        Raises:
            ValueError: The network was built with ``class_dropout_prob=0`` and has no such label.
        """
        if self.config.class_dropout_prob <= 0:
            raise ValueError("guidance needs a 'no label' row; build the network with class_dropout_prob > 0")
        return self.num_classes

    def reset_parameters(self) -> None:
        """Initialise as published: Xavier linears, zero biases, zero modulation and output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.flatten(1))  # a view: fills the conv like a linear
        for name, parameter in self.named_parameters():
            if name == "x_embedder.proj.bias" or "adaLN_modulation" in name or name.startswith("final_layer.linear"):
                nn.init.zeros_(parameter)
            elif name == "y_embedder.embedding_table.weight" or re.fullmatch(r"t_embedder\.mlp\.\d\.weight", name):
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x: Tensor, t: Tensor, y: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Velocity at latents x (B, C, H, W), times t (B,) in [0, 1], labels y (B,), in the shape of x.

        ``uniform`` are random numbers (B,) in 0…1 that decide in training which labels are dropped; None draws them.
        """
        tokens = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(y, uniform)
        rotary = None if self.feat_rope is None else (self.feat_rope.freqs_cos, self.feat_rope.freqs_sin)
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(block, tokens, c, rotary, use_reentrant=False)
            else:
                tokens = block(tokens, c, rotary)
        return self._unpatchify(self.final_layer(tokens, c))[:, : self.config.in_channels]

    def _unpatchify(self, patches: Tensor) -> Tensor:
        """(B, T, p·p·C) with the channel last inside a patch → (B, C, H, W)."""
        (height, width), p = self.config.grid, self.config.patch_size
        grid: Tensor = patches.unflatten(2, (p, p, self.out_channels)).unflatten(1, (height // p, width // p))
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.out_channels, height, width)

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """List the network's tensors; their names are the published ones."""
        return same_names(self)
