"""A linear tokenizer without seams, fitted in seconds: principal components of overlapping windows, and speckle.

For work without a trained autoencoder, and a baseline that a learned tokenizer must beat. Windows of twice the
patch's side with a sine weight overlap by half, as in audio coding (Princen and Bradley, IEEE Trans. ASSP 34, 1986;
here the squared weights add to one), so no patch has a border.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from formats.atomic import atomic_path
from formats.colour_maps import colours_to_levels, find_palette, levels_to_colours
from formats.errors import InputError
from networks.tokenizers.base import LOGVAR_RANGE, Posterior, Tokenizer, to_uint8, to_unit
from networks.tokenizers.speckle import CELL, Speckle, local_strength

KIND = "trilight.lapped_pca"
PATCH = 16
TEXTURE_CHANNELS = (PATCH // CELL) ** 2
REFINEMENTS = 3  # of a code: overlapping windows share pixels, so one projection leaves error that more take away
_WINDOWS = 40_000  # seen at most by the fit
_IMAGES_FOR_SPECKLE = 48


class LappedPCA(Tokenizer):
    """Codes 32 × 32 windows every 16 pixels by their principal components and the strength of what is left.

    Images of a colour map are coded as levels, so that decoded colours are the map's; others as RGB. The last 4
    latent channels hold the logarithm of the residual's local standard deviation at the quarters of a patch. The
    code is exact and without noise: the posterior's log-variance is the lowest there is, −30.

    Args:
        mean: (C,) mean level of each image channel, C = 1 with colours and 3 without.
        components: (K, C, 32, 32), orthonormal, strongest first.
        colours: (256, 3) uint8 of the colour map, or (0, 3) for RGB.
        speckle: Statistics of the residuals.
    """

    uses_noise = True

    mean: Tensor
    components: Tensor
    colours: Tensor

    def __init__(self, mean: Tensor, components: Tensor, colours: Tensor, speckle: Speckle) -> None:
        super().__init__()
        self.latent_channels = len(components) + TEXTURE_CHANNELS
        self.downsampling = PATCH
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.register_buffer("colours", colours)
        self.speckle = speckle

    def encode(self, images: Tensor) -> Posterior:  # noqa: D102
        self.latent_shape(*images.shape[-2:])
        levels = self._to_levels(images)
        code = self._project(levels - self.mean[:, None, None])
        for _ in range(REFINEMENTS):
            code = code + self._project(levels - self._expand(code))
        strength = local_strength(levels - self._expand(code))
        latents = torch.cat([code, F.pixel_unshuffle(strength, PATCH // CELL)], dim=1)
        return Posterior(latents, torch.full_like(latents, LOGVAR_RANGE[0]))

    def decode(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: D102
        code, texture = latents.split([len(self.components), TEXTURE_CHANNELS], dim=1)
        levels = self._expand(code)
        if noise is not None:
            strength = F.pixel_shuffle(texture, PATCH // CELL)
            levels = levels + self.speckle.draw(strength, levels, noise[:, : len(self.mean)])
        if not len(self.colours):
            return 2 * levels - 1
        return to_unit(levels_to_colours(levels, self.colours)).to(latents.dtype)

    def _to_levels(self, images: Tensor) -> Tensor:
        if not len(self.colours):
            return (images + 1) / 2
        return colours_to_levels(to_uint8(images), self.colours).to(images.dtype)

    def _project(self, centred: Tensor) -> Tensor:
        padded = F.pad(centred, (PATCH // 2,) * 4, mode="reflect")
        return F.conv2d(padded, self.components * _window(centred), stride=PATCH)

    def _expand(self, code: Tensor) -> Tensor:
        window, margin = _window(code), slice(PATCH // 2, -PATCH // 2)
        total = F.conv_transpose2d(torch.ones_like(code[:1, :1]), window.square()[None, None], stride=PATCH)
        added = F.conv_transpose2d(code, self.components * window, stride=PATCH) / total
        return added[:, :, margin, margin] + self.mean[:, None, None]

    @classmethod
    def fit(cls, batches: Iterable[Tensor], latent_channels: int = 32) -> LappedPCA:
        """Fit to images; sums are in float64, so that their order does not matter.

        Args:
            batches: Images (B, 3, H, W), uint8 or float in −1…1, H and W multiples of 16.
            latent_channels: Channels of the latents, at least 5.

        Raises:
            InputError: The images vary in fewer directions, or their sides do not fit.
        """
        where = f"LappedPCA of {latent_channels} latent channels"
        if latent_channels <= TEXTURE_CHANNELS:
            raise InputError(where, f"{TEXTURE_CHANNELS} of them hold speckle", "Ask for at least 5.")
        whole = [image if image.dtype == torch.uint8 else to_uint8(image) for image in batches]
        if not whole:
            raise InputError(where, "there are no images", "Give at least one.")
        images = torch.cat([batch.cpu() for batch in whole])
        if images.shape[-2] % PATCH or images.shape[-1] % PATCH:
            fault = f"images of {images.shape[-2]}×{images.shape[-1]} pixels cannot be cut into patches"
            raise InputError(where, fault, f"Resize or crop them to multiples of {PATCH} pixels.")
        colours = find_palette(images)
        levels = to_unit(images) / 2 + 0.5 if colours is None else colours_to_levels(images, colours)
        mean = levels.double().mean((0, 2, 3)).float()
        components = _principal_components(levels - mean[:, None, None], latent_channels - TEXTURE_CHANNELS, where)
        no_colours = torch.zeros(0, 3, dtype=torch.uint8)
        untextured = Speckle(torch.zeros(1, 1), torch.zeros(2, 2))
        code = cls(mean, components, no_colours if colours is None else colours, untextured)
        sample = images[:: -(-len(images) // _IMAGES_FOR_SPECKLE)]
        sample_levels = levels[:: -(-len(images) // _IMAGES_FOR_SPECKLE)]
        decoded = code._expand(code.encode(to_unit(sample)).mean[:, : len(components)])
        code.speckle = Speckle.fit(sample_levels - decoded, decoded)
        return code

    def save(self, path: str | Path) -> None:
        """Write to a ``.safetensors`` file whose metadata name the kind."""
        with atomic_path(path, sync=True) as temporary:
            temporary.write_bytes(save(self.state_dict(), {"kind": KIND}))  # save_file leaves files behind if killed

    @classmethod
    def load(cls, path: str | Path) -> LappedPCA:
        """Read a file that :meth:`save` wrote.

        Raises:
            InputError: The file is missing, of another kind, or damaged.
        """
        remedy = "Name a file that LappedPCA.save wrote."
        if not Path(path).is_file():
            raise InputError(path, "no such file", remedy)
        try:
            with safe_open(path, "pt") as file:
                kind = (file.metadata() or {}).get("kind")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # safetensors has an error class of its own, next to those of the system
            raise InputError(path, "damaged, or not a safetensors file", remedy) from error
        if kind != KIND:
            raise InputError(path, "not a lapped PCA by its metadata and tensors", remedy)
        return cls.from_state(tensors, path)

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], where: str | Path) -> LappedPCA:
        """Build the tokenizer from its state dict.

        Args:
            tensors: Its state dict.
            where: Name of the source in error messages.

        Raises:
            InputError: Tensors are missing, or do not fit together.
        """
        remedy = "Name a file that LappedPCA.save wrote."
        names = {"mean", "components", "colours", "speckle.kernel", "speckle.quantiles"}
        if tensors.keys() != names:
            raise InputError(where, "not a lapped PCA by its metadata and tensors", remedy)
        mean, components = tensors["mean"], tensors["components"]
        if mean.ndim != 1 or components.shape[1:] != (len(mean), 2 * PATCH, 2 * PATCH):
            fault = f"a mean of {tuple(mean.shape)} and components of {tuple(components.shape)} do not fit"
            raise InputError(where, fault, remedy)
        speckle = Speckle(tensors["speckle.kernel"], tensors["speckle.quantiles"])
        return cls(mean, components, tensors["colours"], speckle)


def is_lapped_pca(path: str | Path) -> bool:
    """Say whether ``path`` is a safetensors file whose metadata call it a lapped PCA."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind") == KIND
    except (OSError, SafetensorError):  # not a safetensors file
        return False


def _window(like: Tensor) -> Tensor:
    """Sine weight (32, 32); squares of overlapping windows add to 1."""
    places = torch.arange(2 * PATCH, device=like.device, dtype=like.dtype) + 0.5
    side = torch.sin(torch.pi * places / (2 * PATCH))
    return side[:, None] * side


def _principal_components(centred: Tensor, count: int, where: str) -> Tensor:
    """Strongest directions (K, C, 32, 32) of the weighted windows of centred levels (N, C, H, W)."""
    channels = centred.shape[1]
    cells = centred.shape[2] * centred.shape[3] // PATCH**2
    chosen = centred[:: -(-len(centred) * cells // _WINDOWS)]
    length = channels * (2 * PATCH) ** 2
    weights = _window(centred).flatten().repeat(channels)[:, None]
    products, windows = torch.zeros(length, length, dtype=torch.float64), 0
    for part in chosen.split(32):
        padded = F.pad(part, (PATCH // 2,) * 4, mode="reflect")
        rows = (F.unfold(padded, 2 * PATCH, stride=PATCH) * weights).movedim(1, 2).flatten(0, 1)
        products += (rows.T @ rows).double()
        windows += len(rows)
    variances, directions = torch.linalg.eigh(products / windows)  # ascending
    varying = int((variances > 1e-9 * (1 + variances[-1])).sum())  # the rest is rounding
    if varying < count:
        fault = f"{windows} windows vary in {varying} directions"
        raise InputError(where, fault, "Give more, or more varied, images, or ask for fewer latent channels.")
    strongest = directions.T.flip(0)[:count]
    components: Tensor = (strongest * _signs(strongest)).float()
    return components.reshape(count, channels, 2 * PATCH, 2 * PATCH).contiguous()


def _signs(components: Tensor) -> Tensor:
    """Give the sign (K, 1) that makes each row's product with a fixed random vector positive.

    An eigenvector has no sign of its own. The usual choice, by its largest entry, flips with the last bit of
    rounding for antisymmetric components, which images have.
    """
    fixed = np.random.Generator(np.random.PCG64(0)).standard_normal(components.shape[1])
    return torch.sign(components @ torch.from_numpy(fixed))[:, None]
