"""Interface of tokenizers: images to a Gaussian over latents, latents to images."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from formats.errors import InputError

LOGVAR_RANGE = (-30.0, 20.0)


@dataclass
class Posterior:
    """An independent Gaussian for every number of the latents.

    Attributes:
        mean: (B, C, h, w).
        logvar: (B, C, h, w), natural logarithm of the variance, in −30…20.
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """Draw latents, mean + exp(logvar / 2) · noise.

        Args:
            generator: Generator of the noise, on the device of ``mean``.
            noise: Standard normal noise (B, C, h, w) to use instead of drawing any.
        """
        if noise is None:
            shape, device, dtype = self.mean.shape, self.mean.device, self.mean.dtype
            noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def mode(self) -> Tensor:
        """Return the most likely latents, the mean."""
        return self.mean


class Tokenizer(nn.Module, ABC):
    """Encode images to latents and back. Latents are raw: no statistics and no multiplier are applied to them.

    Attributes:
        latent_channels: C of the latents (B, C, h, w).
        downsampling: Image pixels per latent cell along each side; along time alone where a cell is a whole column.
        uses_noise: Whether decoding draws detail that the latents do not hold, such as speckle.
    """

    latent_channels: int
    downsampling: int
    uses_noise: bool = False

    @abstractmethod
    def encode(self, images: Tensor) -> Posterior:
        """Encode float images (B, 3, H, W) in −1…1, H and W multiples of ``downsampling``.

        Raises:
            InputError: The sides are not multiples of ``downsampling``.
        """

    @abstractmethod
    def decode(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:
        """Decode latents to images (B, 3, H, W) in about −1…1, not clamped.

        Args:
            latents: (B, C, h, w).
            noise: (B, 3, H, W) standard normal, the source of detail where ``uses_noise`` is set; None decodes
                without that detail. Other tokenizers ignore it.
        """

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, h, w) for images of ``height`` × ``width`` pixels.

        Raises:
            InputError: The sides are not multiples of ``downsampling``.
        """
        step = self.downsampling
        if height % step or width % step or not height or not width:
            remedy = f"Resize or crop the images to multiples of {step} pixels."
            raise InputError(f"images of {height}×{width} pixels", "they cannot be divided into latents", remedy)
        return self.latent_channels, height // step, width // step

    def image_size(self, latents: Tensor) -> tuple[int, int]:
        """Return height and width of the images that latents (B, C, h, w) decode to."""
        height, width = latents.shape[-2:]
        return height * self.downsampling, width * self.downsampling

    def fingerprint(self) -> str:
        """Return a SHA-256 of class and weights, by which latents record the tokenizer that made them.

        It depends on the dtype, which changes the results, but not on the device.
        """
        digest = hashlib.sha256(type(self).__name__.encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def to_unit(images: Tensor) -> Tensor:
    """Convert uint8 images (of any shape) to float32 in −1…1, x / 127.5 − 1.

    Raises:
        TypeError: They are not uint8; float images would be scaled twice.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"to_unit takes uint8 images, not {images.dtype}")
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Convert images of about −1…1 to uint8 by the published rule: clamp(127.5·x + 128, 0, 255), truncated.

    The result of :func:`to_unit` for k gives k + 0.5, half a step from both neighbours, which truncates to k.

    Example::

        >>> to_uint8(to_unit(torch.tensor([0, 7, 255], dtype=torch.uint8)))
        tensor([  0,   7, 255], dtype=torch.uint8)
    """
    return (127.5 * images.float() + 128).clamp(0, 255).to(torch.uint8)
