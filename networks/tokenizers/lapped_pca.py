"""A linear tokenizer without seams, fitted in seconds: principal components of overlapping strips, and speckle.

For work without a trained autoencoder, and a baseline that a learned tokenizer must beat. A strip is as high as the
image, so that one latent column holds the whole Doppler axis at its time: the lines of the body are never cut, and a
generator has to model their course over time only. Strips overlap by half under a sine weight, as in audio coding
(Princen and Bradley, IEEE Trans. ASSP 34, 1986; here the squared weights add to one), so nothing has a border.
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
STRIDE = 16  # columns from one strip to the next, half a strip
TEXTURE_CHANNELS = 4
LATENT_CHANNELS = 52  # default of a fit
REFINEMENTS = 3  # of a code: overlapping strips share pixels, so one projection leaves error that more take away
_ROW_COMPONENTS = 64  # of single columns; strips are looked for in their span, which keeps the fit small
_IMAGES_FOR_SPECKLE = 48


class LappedPCA(Tokenizer):
    """Codes strips of 32 columns every 16 columns by their principal components and the strength of what is left.

    Images of a colour map are coded as levels, so that decoded colours are the map's; others as RGB. Latents are
    (B, C, 1, W / 16). The last 4 channels are principal components of the logarithm of the residual's local standard
    deviation. The code is exact and without noise: the posterior's log-variance is the lowest there is, −30.

    Args:
        mean: (C, H, 1) mean level of each row, C = 1 with colours and 3 without.
        components: (K, C, H, 32), orthonormal, strongest first.
        colours: (256, 3) uint8 of the colour map, or (0, 3) for RGB.
        texture_mean: (H / 4,) mean strength of the residual in the 8 × 8 cells of 16 columns.
        texture_components: (4, H / 4), orthonormal, strongest first.
        speckle: Statistics of the residuals.
    """

    uses_noise = True

    mean: Tensor
    components: Tensor
    colours: Tensor
    texture_mean: Tensor
    texture_components: Tensor

    def __init__(
        self,
        mean: Tensor,
        components: Tensor,
        colours: Tensor,
        texture_mean: Tensor,
        texture_components: Tensor,
        speckle: Speckle,
    ) -> None:
        super().__init__()
        self.latent_channels = len(components) + len(texture_components)
        self.downsampling = STRIDE
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.register_buffer("colours", colours)
        self.register_buffer("texture_mean", texture_mean)
        self.register_buffer("texture_components", texture_components)
        self.speckle = speckle

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, 1, w) for images of ``height`` × ``width`` pixels.

        Raises:
            InputError: The height is not that of the images of the fit, or the width not a multiple of 16.
        """
        rows = self.mean.shape[1]
        if height != rows or width % STRIDE or not width:
            remedy = f"Resize or crop them to {rows} rows and a multiple of {STRIDE} columns."
            raise InputError(f"images of {height}×{width} pixels", "do not fit this LappedPCA", remedy)
        return self.latent_channels, 1, width // STRIDE

    def image_size(self, latents: Tensor) -> tuple[int, int]:  # noqa: D102
        return self.mean.shape[1], latents.shape[-1] * STRIDE

    def encode(self, images: Tensor) -> Posterior:  # noqa: D102
        self.latent_shape(*images.shape[-2:])
        levels = self._to_levels(images)
        code = self._code(levels)
        texture = self.texture_components @ (_cells(local_strength(levels - self._expand(code))) - self.texture_mean)
        latents = torch.cat([code, texture[:, :, None]], dim=1)
        return Posterior(latents, torch.full_like(latents, LOGVAR_RANGE[0]))

    def decode(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: D102
        code, texture = latents.split([len(self.components), len(self.texture_components)], dim=1)
        levels = self._expand(code)
        if noise is not None:
            cells = self.texture_components.T @ texture[:, :, 0] + self.texture_mean
            levels = levels + self.speckle.draw(_strength(cells), levels, noise[:, : len(self.mean)])
        if not len(self.colours):
            return 2 * levels - 1
        return to_unit(levels_to_colours(levels, self.colours)).to(latents.dtype)

    def _to_levels(self, images: Tensor) -> Tensor:
        if not len(self.colours):
            return (images + 1) / 2
        return colours_to_levels(to_uint8(images), self.colours).to(images.dtype)

    def _code(self, levels: Tensor) -> Tensor:
        code = self._project(levels - self.mean)
        for _ in range(REFINEMENTS):
            code = code + self._project(levels - self._expand(code))
        return code

    def _project(self, centred: Tensor) -> Tensor:
        return F.conv2d(_padded(centred), self.components * _window(centred), stride=(1, STRIDE))

    def _expand(self, code: Tensor) -> Tensor:
        window, margin = _window(code), slice(STRIDE // 2, -STRIDE // 2)
        total = F.conv_transpose1d(torch.ones_like(code[:1, :1, 0]), window.square()[None, None], stride=STRIDE)
        added = F.conv_transpose2d(code, self.components * window, stride=(1, STRIDE)) / total
        return added[..., margin] + self.mean

    @classmethod
    def fit(cls, batches: Iterable[Tensor], latent_channels: int = LATENT_CHANNELS) -> LappedPCA:
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
        if images.shape[-2] % STRIDE or images.shape[-1] % STRIDE:
            fault = f"images of {images.shape[-2]}×{images.shape[-1]} pixels cannot be cut into strips"
            raise InputError(where, fault, f"Resize or crop them to multiples of {STRIDE} pixels.")
        colours = find_palette(images)
        levels = to_unit(images) / 2 + 0.5 if colours is None else colours_to_levels(images, colours)
        mean = levels.double().mean((0, 3)).float()[:, :, None]
        components = _strip_components(levels - mean, latent_channels - TEXTURE_CHANNELS, where)
        no_colours = torch.zeros(0, 3, dtype=torch.uint8)
        cells = 2 * (images.shape[-2] // CELL)
        untextured = torch.zeros(cells, 1), torch.zeros(TEXTURE_CHANNELS, cells)
        speckle = Speckle(torch.zeros(1, 1), torch.zeros(2, 2))
        code = cls(mean, components, no_colours if colours is None else colours, *untextured, speckle)
        decoded = torch.cat([code._expand(code._code(part)) for part in levels.split(32)])
        strengths = _cells(local_strength(levels - decoded)).movedim(1, 2).flatten(0, 1)
        code.texture_mean = strengths.double().mean(0).float()[:, None]
        directions = _directions(strengths - code.texture_mean.T)[0][:TEXTURE_CHANNELS]
        code.texture_components = (directions * _signs(directions)).float()
        sample = slice(None, None, -(-len(images) // _IMAGES_FOR_SPECKLE))
        code.speckle = Speckle.fit((levels - decoded)[sample], decoded[sample])
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
        parts = ("mean", "components", "colours", "texture_mean", "texture_components")
        if tensors.keys() != {*parts, "speckle.kernel", "speckle.quantiles"}:
            raise InputError(where, "not a lapped PCA by its metadata and tensors", remedy)
        mean, components, _, texture_mean, texture_components = (tensors[part] for part in parts)
        cells = 2 * (mean.shape[1] // CELL) if mean.ndim == 3 else 0
        fits = components.shape[1:] == (*mean.shape[:2], 2 * STRIDE) and texture_mean.shape == (cells, 1)
        if not fits or texture_components.shape != (TEXTURE_CHANNELS, cells):
            fault = f"a mean of {tuple(mean.shape)} and components of {tuple(components.shape)} do not fit"
            raise InputError(where, fault, remedy)
        speckle = Speckle(tensors["speckle.kernel"], tensors["speckle.quantiles"])
        return cls(mean, components, tensors["colours"], texture_mean, texture_components, speckle)


def is_lapped_pca(path: str | Path) -> bool:
    """Say whether ``path`` is a safetensors file whose metadata call it a lapped PCA."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind") == KIND
    except (OSError, SafetensorError):  # not a safetensors file
        return False


def _window(like: Tensor) -> Tensor:
    """Sine weight (32,) of a strip's columns; squares of overlapping strips add to 1."""
    places = torch.arange(2 * STRIDE, device=like.device, dtype=like.dtype) + 0.5
    return torch.sin(torch.pi * places / (2 * STRIDE))


def _padded(images: Tensor) -> Tensor:
    """Continue images (N, C, H, W) by half a stride on either side."""
    return F.pad(images, (STRIDE // 2, STRIDE // 2, 0, 0), mode="reflect")


def _cells(strength: Tensor) -> Tensor:
    """Gather strengths (N, 1, H/8, W/8) per latent column, (N, H/4, W/16)."""
    cells: Tensor = strength[:, 0].unflatten(2, (-1, 2)).transpose(2, 3).flatten(1, 2)
    return cells


def _strength(cells: Tensor) -> Tensor:
    """Inverse of `_cells`."""
    strength: Tensor = cells.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2)[:, None]
    return strength


def _strip_components(centred: Tensor, count: int, where: str) -> Tensor:
    """Strongest directions (K, C, H, 32) of the weighted strips of centred levels (N, C, H, W).

    They are looked for among strips whose columns are in the span of the strongest directions of single columns.
    """
    channels, height = centred.shape[1:3]
    columns = centred.flatten(1, 2)  # (N, C · H, W)
    row_products = sum((part @ part.mT).sum(0).double() for part in columns.split(32))
    rows = torch.linalg.eigh(row_products).eigenvectors.flip(1)[:, :_ROW_COMPONENTS].float()
    parts = []
    for part in columns.split(32):
        strips = _padded((rows.T @ part)[:, None])[:, 0].unfold(2, 2 * STRIDE, STRIDE) * _window(centred)
        parts.append(strips.transpose(1, 2).flatten(2).flatten(0, 1))  # (N · T, rows · 32)
    directions, variances = _directions(torch.cat(parts))
    varying = int((variances > 1e-9 + 1e-6 * variances[0]).sum())  # the rest is rounding of float32 sums
    if varying < count:
        fault = f"{sum(map(len, parts))} strips vary in {varying} directions"
        raise InputError(where, fault, "Give more, or more varied, images, or ask for fewer latent channels.")
    strongest = rows.double() @ directions[:count].unflatten(1, (rows.shape[1], 2 * STRIDE))
    strongest = strongest.flatten(1)
    components: Tensor = (strongest * _signs(strongest)).float()
    return components.reshape(count, channels, height, 2 * STRIDE).contiguous()


def _directions(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Principal directions as rows, strongest first, and their variances, float64, of rows (N, M)."""
    products = sum((part.T @ part).double() for part in centred.split(1024))
    variances, directions = torch.linalg.eigh(products / len(centred))  # ascending
    return directions.T.flip(0), variances.flip(0)


def _signs(components: Tensor) -> Tensor:
    """Give the sign (K, 1) that makes each row's product with a fixed random vector positive.

    An eigenvector has no sign of its own. The usual choice, by its largest entry, flips with the last bit of
    rounding for antisymmetric components, which images have.
    """
    fixed = np.random.Generator(np.random.PCG64(0)).standard_normal(components.shape[1])
    return torch.sign(components @ torch.from_numpy(fixed))[:, None]
