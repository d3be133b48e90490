"""VA-VAE, the KL autoencoder of LightningDiT that is aligned with a vision foundation model.

Yao et al., "Reconstruction vs. Generation: Taming Optimization Dilemma in Latent Diffusion Models"
(CVPR 2025). Its layout is that of diffusers' ``AutoencoderKL``; only the names differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from formats.errors import InputError
from networks.checkpoints import PublishedTensor
from networks.tokenizers.kl_autoencoder import KLTokenizer

# diffusers' name → published name, applied in this order; `_published_name` renumbers the levels.
RENAMES = (
    (r"\.down_blocks\.", ".down."),
    (r"\.up_blocks\.", ".up."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
    (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
    (r"\.resnets\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"\.(down|up)samplers\.0\.", r".\1sample."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
)


class VAVAE(KLTokenizer):
    """Published f16d32 tokenizer: images (B, 3, H, W) in −1…1 to latents (B, 32, H/16, W/16) and back.

    Two residual blocks per level (three in the decoder), single-head attention at the lowest level and in the
    middle. Published checkpoints load through :func:`networks.checkpoints.load_published`.

    Args:
        base_channels: Channels of the first level, a multiple of 32.
        channel_multipliers: Channels of each level, as multiples of ``base_channels``; each level but the
            first halves the sides.
        latent_channels: Channels of the latents.
    """

    published_dropped: ClassVar[Mapping[str, str]] = {
        r"loss\..*": "losses and discriminator of its training",
        r"foundation_model\..*": "the vision foundation model it was aligned with",
        r"(?:\w*_)?(?:proj|projection|projector)\..*": "projection between latents and foundation features",
    }
    published_computed: ClassVar[tuple[str, ...]] = ()
    published_restartable: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        base_channels: int = 128,
        channel_multipliers: Sequence[int] = (1, 1, 2, 2, 4),
        latent_channels: int = 32,
    ) -> None:
        from diffusers import AutoencoderKL  # here, since its import takes seconds

        plain_levels = len(channel_multipliers) - 1
        autoencoder = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * plain_levels + ("AttnDownEncoderBlock2D",),
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * plain_levels,
            block_out_channels=tuple(base_channels * multiplier for multiplier in channel_multipliers),
            layers_per_block=2,
            latent_channels=latent_channels,
        )
        super().__init__(autoencoder)

    def published_tensors(self) -> Iterable[PublishedTensor]:
        """List tensors by the names of the original latent-diffusion code, whose attention uses 1×1 convolutions."""
        levels = len(self.autoencoder.config.block_out_channels)
        for ours in self.state_dict():
            published = _published_name(ours.removeprefix("autoencoder."), levels)
            if re.search(r"\.to_(?:q|k|v|out\.0)\.weight$", ours):
                yield PublishedTensor(ours, (published,), _convolution_to_linear, _linear_to_convolution)
            else:
                yield PublishedTensor(ours, (published,))


def vavae_for(state: Mapping[str, Tensor], where: str) -> VAVAE:
    """Build the VA-VAE that fits a published state dict, with sizes taken from its shapes, without loading it.

    Args:
        state: Published name → tensor.
        where: Name of the source in errors.

    Raises:
        InputError: It is not a published VA-VAE.
    """
    try:
        base_channels = state["encoder.conv_in.weight"].shape[0]
        latent_channels = state["decoder.conv_in.weight"].shape[1]
        firsts = [name for name in state if re.fullmatch(r"encoder\.down\.\d+\.block\.0\.conv1\.weight", name)]
        widths = [state[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(len(firsts))]
    except (KeyError, IndexError) as error:
        remedy = "Name a VA-VAE in the published naming, or the folder with config.json of another autoencoder."
        raise InputError(where, "not a published VA-VAE by its tensor names", remedy) from error
    if base_channels == 0 or base_channels % 32 or not widths or any(width % base_channels for width in widths):
        remedy = "Name an unaltered VA-VAE checkpoint."
        raise InputError(where, f"a VA-VAE of widths {base_channels}, {widths} is not supported", remedy)
    return VAVAE(base_channels, [width // base_channels for width in widths], latent_channels)


def _published_name(name: str, levels: int) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    # Published decoder levels count from the image, diffusers' from the latents.
    return re.sub(r"(?<=\.up\.)\d+", lambda match: str(levels - 1 - int(match[0])), name)


def _convolution_to_linear(weight: Tensor) -> Tensor:
    return weight[:, :, 0, 0]


def _linear_to_convolution(weight: Tensor) -> tuple[Tensor, ...]:
    return (weight[:, :, None, None],)
