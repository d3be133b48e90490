"""LightningDiT, whole: embeddings, blocks, final layer.

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

from networks.checkpoints import PublishedTensor
from networks.lightning_dit.positions import TimeEmbedding, rotary_tables, rotate, sincos_table


class RMSNorm(nn.Module):
    """Root-mean-square norm with a weight; statistics in float32 whatever the input's type."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of x (..., channels)."""
        return F.rms_norm(x.float(), self.weight.shape, eps=self.eps).type_as(x) * self.weight


class LabelEmbedding(nn.Module):
    """A table of label vectors; the extra last row, where there is one, means "no label"."""

    def __init__(self, num_classes: int, hidden_size: int, dropout_prob: float) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + (dropout_prob > 0), hidden_size)
        self.num_classes, self.dropout_prob = num_classes, dropout_prob

    def forward(self, y: Tensor) -> Tensor:
        """Embed y (B,) as (B, hidden_size); in training, labels fall to "no label" with ``dropout_prob``."""
        if self.training and self.dropout_prob > 0:
            dropped = torch.rand(y.shape, device=y.device) < self.dropout_prob
            y = torch.where(dropped, self.num_classes, y)
        return self.embedding_table(y)


class SwiGLU(nn.Module):
    """Gated MLP: silu(first half) · second half; the two input projections are one matrix product."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(channels, 2 * hidden)
        self.w3 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., channels)."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class MLP(nn.Module):
    """Two linears around a tanh-approximated GELU."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) → (..., channels)."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


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
        out = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.proj(out.transpose(1, 2).flatten(-2))


def _norm(channels: int, use_rmsnorm: bool) -> nn.Module:
    return RMSNorm(channels) if use_rmsnorm else nn.LayerNorm(channels, eps=1e-6, elementwise_affine=False)


def _modulate(x: Tensor, shift: Tensor | None, scale: Tensor) -> Tensor:
    x = x * (1 + scale.unsqueeze(1))
    return x if shift is None else x + shift.unsqueeze(1)


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition (adaLN-zero)."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        mlp_ratio: float,
        use_qknorm: bool,
        use_swiglu: bool,
        use_rmsnorm: bool,
        wo_shift: bool,
    ) -> None:
        super().__init__()
        self.norm1 = _norm(channels, use_rmsnorm)
        self.norm2 = _norm(channels, use_rmsnorm)
        self.attn = Attention(channels, num_heads, use_qknorm, use_rmsnorm)
        hidden = int(channels * mlp_ratio)
        self.mlp = SwiGLU(channels, int(2 / 3 * hidden)) if use_swiglu else MLP(channels, hidden)
        self.wo_shift = wo_shift
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, (4 if wo_shift else 6) * channels))

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
        return x + gate2.unsqueeze(1) * self.mlp(_modulate(self.norm2(x), shift2, scale2))


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
        return self.linear(_modulate(self.norm_final(x), shift, scale))


class PatchEmbedding(nn.Module):
    """Non-overlapping patches of latents as tokens, in row-major order."""

    def __init__(self, in_channels: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, T, channels)."""
        return self.proj(x).flatten(2).transpose(1, 2)


class RotaryTables(nn.Module):
    """Holds the rotary tables under their published names."""

    def __init__(self, head_dim: int, side: int) -> None:
        super().__init__()
        cos, sin = rotary_tables(head_dim, side)
        self.register_buffer("freqs_cos", cos)
        self.register_buffer("freqs_sin", sin)


class LightningDiT(nn.Module):
    """Velocity of a latent at a time, given a label.

    Args:
        input_size: Side of the latent grid; a multiple of ``patch_size``.
        patch_size: Side of a patch, in latents.
        in_channels: Channels of a latent.
        hidden_size: Width of a token; a multiple of 4 × ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``hidden_size`` (SwiGLU takes two thirds of it).
        num_classes: Labels, without the "no label" row.
        class_dropout_prob: Share of labels replaced by "no label" in training; 0 leaves that row out.
        learn_sigma: The output layer has twice the channels, and the second half is discarded.
        use_qknorm: Normalise queries and keys per head.
        use_swiglu: Gated MLP in place of GELU.
        use_rope: Rotary positions on queries and keys.
        use_rmsnorm: RMSNorm in place of LayerNorm without affine.
        wo_shift: Leave the shifts out of the blocks' modulation.
        gradient_checkpointing: Recompute each block in the backward pass, for memory.

    Raises:
        ValueError: Sizes that do not divide.

    Example::

        network = LightningDiT(input_size=16, hidden_size=384, depth=6, num_heads=6, num_classes=5)
        velocity = network(torch.randn(2, 32, 16, 16), torch.rand(2), torch.tensor([0, 4]))
    """

    published_dropped: ClassVar[Mapping[str, str]] = {}
    published_computed: ClassVar[tuple[str, ...]] = (r"pos_embed", r"feat_rope\..*")
    published_restartable: ClassVar[tuple[str, ...]] = ("y_embedder.embedding_table.weight",)

    def __init__(
        self,
        input_size: int = 16,
        patch_size: int = 1,
        in_channels: int = 32,
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        num_classes: int = 1000,
        class_dropout_prob: float = 0.1,
        learn_sigma: bool = False,
        use_qknorm: bool = False,
        use_swiglu: bool = True,
        use_rope: bool = True,
        use_rmsnorm: bool = True,
        wo_shift: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if input_size % patch_size:
            raise ValueError(f"input_size {input_size} is not a multiple of patch_size {patch_size}")
        if hidden_size % num_heads or hidden_size % 4:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads} and of 4")
        if use_rope and hidden_size // num_heads % 4:
            raise ValueError(f"rotary positions need heads of a multiple of 4, not {hidden_size // num_heads}")
        self.input_size, self.patch_size, self.in_channels = input_size, patch_size, in_channels
        self.out_channels = in_channels * (2 if learn_sigma else 1)
        self.num_classes, self.class_dropout_prob = num_classes, class_dropout_prob
        self.gradient_checkpointing = gradient_checkpointing

        side = input_size // patch_size
        self.x_embedder = PatchEmbedding(in_channels, hidden_size, patch_size)
        self.t_embedder = TimeEmbedding(hidden_size)
        self.y_embedder = LabelEmbedding(num_classes, hidden_size, class_dropout_prob)
        self.register_buffer("pos_embed", sincos_table(hidden_size, side))
        self.feat_rope = RotaryTables(hidden_size // num_heads, side) if use_rope else None
        self.blocks = nn.ModuleList(
            Block(hidden_size, num_heads, mlp_ratio, use_qknorm, use_swiglu, use_rmsnorm, wo_shift)
            for _ in range(depth)
        )
        self.final_layer = FinalLayer(hidden_size, patch_size**2 * self.out_channels, use_rmsnorm)
        self.reset_parameters()

    @property
    def no_label(self) -> int:
        """The label that means "no label".

        Raises:
            ValueError: The network was built with ``class_dropout_prob=0`` and never learned one.
        """
        if self.class_dropout_prob <= 0:
            raise ValueError("guidance needs a 'no label' row; build the network with class_dropout_prob > 0")
        return self.num_classes

    def reset_parameters(self) -> None:
        """Start weights as published: Xavier linears, zero biases, zero modulation and output."""
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

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Velocity at latents x (B, C, H, W), times t (B,) in [0, 1], labels y (B,); the shape of x."""
        tokens = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(y)
        rotary = None if self.feat_rope is None else (self.feat_rope.freqs_cos, self.feat_rope.freqs_sin)
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                tokens = checkpoint(block, tokens, c, rotary, use_reentrant=False)
            else:
                tokens = block(tokens, c, rotary)
        return self._unpatchify(self.final_layer(tokens, c))[:, : self.in_channels]

    def _unpatchify(self, patches: Tensor) -> Tensor:
        """(B, T, p·p·C) with the channel last inside a patch → (B, C, H, W)."""
        side, p = self.input_size // self.patch_size, self.patch_size
        grid = patches.unflatten(2, (p, p, self.out_channels)).unflatten(1, (side, side))
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.out_channels, self.input_size, self.input_size)

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """The network's tensors; their names are the published ones."""
        return [PublishedTensor(name, (name,)) for name in self.state_dict()]
