"""Linear tokenizer fitted in seconds: the principal components of image patches.

Useful without a trained autoencoder: for small runs, tests, and as a baseline for learned tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from formats.atomic import atomic_path
from formats.errors import InputError
from networks.tokenizers.base import LOGVAR_RANGE, Posterior, Tokenizer, to_unit

KIND = "trilight.patch_pca"


class PatchPCA(Tokenizer):
    """Encode every ``patch_size`` × ``patch_size`` RGB patch by its principal components.

    The code has no noise: the posterior's log-variance is the lowest allowed, −30. Latent channel k is the
    coordinate along the k-th strongest component, in units of the images (−1…1).

    Args:
        mean: Mean patch (3·p·p,); colour first, then rows, then columns.
        components: Orthonormal rows (C, 3·p·p), strongest first.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        super().__init__()
        self.latent_channels = components.shape[0]
        self.downsampling = round((components.shape[1] / 3) ** 0.5)
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)

    def encode(self, images: Tensor) -> Posterior:  # noqa: D102
        self.latent_shape(*images.shape[-2:])
        centred = F.pixel_unshuffle(images, self.downsampling) - self.mean[:, None, None]
        latents = torch.einsum("kd,bdhw->bkhw", self.components, centred)
        return Posterior(latents, torch.full_like(latents, LOGVAR_RANGE[0]))

    def decode(self, latents: Tensor) -> Tensor:  # noqa: D102
        patches = torch.einsum("kd,bkhw->bdhw", self.components, latents) + self.mean[:, None, None]
        return F.pixel_shuffle(patches, self.downsampling)

    @classmethod
    def fit(cls, batches: Iterable[Tensor], latent_channels: int = 32, patch_size: int = 16) -> PatchPCA:
        """Fit to images in one pass, with sums in float64, so their order affects only rounding.

        Args:
            batches: Images (B, 3, H, W), uint8 or float in −1…1, sides multiples of ``patch_size``; the sizes
                may differ between batches.
            latent_channels: Number of components, at most 3·patch_size².
            patch_size: Side of a patch in pixels.

        Raises:
            InputError: The sides are not multiples of ``patch_size``, or the patches vary in fewer directions
                than ``latent_channels``.
        """
        size = 3 * patch_size**2
        count, total, products = 0, torch.zeros(size).double(), torch.zeros(size, size).double()
        for images in batches:
            patches = _patches(images, patch_size)
            count += len(patches)
            total += patches.sum(0)
            products += patches.T @ patches
        mean = total / max(count, 1)
        covariance = products / max(count, 1) - torch.outer(mean, mean)
        variances, directions = torch.linalg.eigh(covariance)  # ascending
        varying = int((variances > 1e-12 * (1 + variances[-1])).sum())  # the rest is rounding
        if varying < latent_channels:
            fault = f"{count} patches of {patch_size}×{patch_size} vary in {varying} directions"
            remedy = "Give more, or more varied, images, or ask for fewer latent channels."
            raise InputError(f"PatchPCA of {latent_channels} latent channels", fault, remedy)
        components = directions.T.flip(0)[:latent_channels]
        return cls(mean.float(), (components * _signs(components)).float().contiguous())

    def save(self, path: str | Path) -> None:
        """Write to a ``.safetensors`` file whose metadata names the kind."""
        with atomic_path(path) as temporary:
            save_file(self.state_dict(), temporary, {"kind": KIND, "patch_size": str(self.downsampling)})

    @classmethod
    def load(cls, path: str | Path) -> PatchPCA:
        """Read a file that :meth:`save` wrote.

        Raises:
            InputError: The file is missing, damaged, or not a patch PCA.
        """
        remedy = "Name a file that PatchPCA.save wrote."
        if not Path(path).is_file():
            raise InputError(path, "no such file", remedy)
        try:
            with safe_open(path, "pt") as file:
                kind = (file.metadata() or {}).get("kind")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # safetensors also raises its own error class
            raise InputError(path, "damaged, or not a safetensors file", remedy) from error
        if kind != KIND or tensors.keys() != {"mean", "components"}:
            raise InputError(path, "not a patch PCA by its metadata and tensors", remedy)
        mean, components = tensors["mean"], tensors["components"]
        if components.ndim != 2 or mean.shape != components.shape[1:] or not _is_patch_size(len(mean)):
            fault = f"a mean of {tuple(mean.shape)} and components of {tuple(components.shape)} do not fit"
            raise InputError(path, fault, remedy)
        return cls(mean, components)


def is_patch_pca(path: str | Path) -> bool:
    """Return whether ``path`` is a safetensors file whose metadata names it a patch PCA."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("kind") == KIND
    except Exception:  # not a safetensors file
        return False


def _patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut images (B, 3, H, W) into float64 patches (N, 3·p·p)."""
    if images.shape[-2] % patch_size or images.shape[-1] % patch_size:
        where = f"images of {images.shape[-2]}×{images.shape[-1]} pixels"
        remedy = f"Resize or crop them to multiples of {patch_size} pixels."
        raise InputError(where, f"they cannot be cut into patches of {patch_size}×{patch_size}", remedy)
    unit = to_unit(images) if images.dtype == torch.uint8 else images
    return F.pixel_unshuffle(unit.double().cpu(), patch_size).movedim(1, -1).flatten(0, 2)


def _signs(components: Tensor) -> Tensor:
    """Return the sign (C, 1) that makes each row's product with a fixed random vector positive.

    The sign of an eigenvector is arbitrary. The usual choice, by its largest entry, depends on rounding for
    antisymmetric components, which images have.
    """
    fixed = np.random.Generator(np.random.PCG64(0)).standard_normal(components.shape[1])
    return torch.sign(components @ torch.from_numpy(fixed))[:, None]


def _is_patch_size(numbers: int) -> bool:
    return numbers > 0 and 3 * round((numbers / 3) ** 0.5) ** 2 == numbers
