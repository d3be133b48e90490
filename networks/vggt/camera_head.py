"""Camera head of VGGT: from each frame's camera token to its pose encoding, in a few refinements."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.vggt.blocks import MLP, Block

POSE_SIZE = 9  # translation 3, quaternion 4, field of view 2
ITERATIONS = 4


class CameraHead(nn.Module):
    """Predict pose encodings of all frames, refined ``ITERATIONS`` times by one trunk.

    A pose encoding holds the translation (3, in units of the scene), the quaternion x y z w (4) of the
    world→camera rotation (OpenCV axes), and the vertical and horizontal field of view (2, radians, ≥ 0). The
    quaternion is not normalised and may have either sign.

    Args:
        channels: Width of the tokens.
        depth: Number of blocks in the trunk.
        num_heads: Number of attention heads in the trunk.
        init_values: Start value of the trunk's LayerScale.
    """

    def __init__(self, channels: int, depth: int, num_heads: int, init_values: float) -> None:
        super().__init__()
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE_SIZE))
        self.trunk = nn.Sequential(*(Block(channels, num_heads, False, init_values) for _ in range(depth)))
        self.token_norm = nn.LayerNorm(channels)
        self.trunk_norm = nn.LayerNorm(channels)
        self.embed_pose = nn.Linear(POSE_SIZE, channels)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 3 * channels))
        self.pose_branch = MLP(channels, channels // 2, POSE_SIZE)

    def forward(self, camera_tokens: Tensor) -> list[Tensor]:
        """Camera tokens (B, S, channels) → one (B, S, 9) per iteration; the last is the most refined."""
        tokens = self.token_norm(camera_tokens)
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        raw, encodings = self.empty_pose_tokens.expand(*tokens.shape[:2], -1), []
        for iteration in range(ITERATIONS):
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(raw)).chunk(3, dim=-1)
            x = self.trunk(gate * (normed * (1 + scale) + shift) + tokens)
            step = self.pose_branch(self.trunk_norm(x))
            # Each iteration learns only its own step: the encoding that it starts from and adds to is detached.
            # The first has no encoding to add to; its learnt token is only an input.
            total = raw + step if iteration else step
            raw = total.detach()
            encodings.append(torch.cat([total[..., :7], F.relu(total[..., 7:])], dim=-1))
        return encodings
