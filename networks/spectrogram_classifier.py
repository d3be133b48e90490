"""Small network that classifies walking people by their spectrograms, to evaluate generated ones.

Its identification accuracy is one measure; its features, learnt on the task's own images, give another: Fréchet
distances between them mean more for spectrograms than those between features of a network for photographs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formats.errors import InputError


class SpectrogramClassifier(nn.Module):
    """User logits for spectrogram images whose rows are Doppler frequency and whose columns are time.

    Features are averaged over time only: a step can fall anywhere in the window, while the position of the lines
    on the Doppler axis is the person's speed, and with it much of the identity.

    Args:
        num_users: Number of classes, at least 2.
        width: Channels of the first block, a multiple of 8. Features have ``2 · width`` values.
        input_size: Side in pixels to which images are resized internally, a multiple of 8.

    Raises:
        InputError: An argument is out of range.

    Example::

        >>> images = torch.zeros(2, 3, 256, 256, dtype=torch.uint8)
        >>> classifier = SpectrogramClassifier(num_users=5)
        >>> classifier(shrink(images)).shape
        torch.Size([2, 5])
    """

    def __init__(self, num_users: int, width: int = 32, input_size: int = 64) -> None:
        super().__init__()
        if num_users < 2:
            raise InputError("num_users", f"{num_users} users cannot be classified", "Give at least 2.")
        for name, value in (("width", width), ("input_size", input_size)):
            if value < 8 or value % 8:
                raise InputError(name, f"{value} is not a multiple of 8", "Give 32 or 64, for example.")
        self.num_users, self.input_size, self.num_features = num_users, input_size, 2 * width
        self.blocks = nn.Sequential(
            _block(3, width, kernel=5, stride=(2, 2)),
            _block(width, 2 * width, kernel=3, stride=(2, 2)),
            _block(2 * width, 2 * width, kernel=3, stride=(1, 1)),
            _block(2 * width, 4 * width, kernel=3, stride=(1, 2)),  # Doppler keeps a quarter of its rows
        )
        self.project = nn.Linear(4 * width * (input_size // 4), self.num_features)
        self.head = nn.Linear(self.num_features, num_users)

    def features(self, images: Tensor) -> Tensor:
        """Compute a feature vector per image that does not depend on when in the window a step falls.

        Args:
            images: (N, 3, H, W) uint8 RGB, any size.

        Returns:
            (N, ``num_features``) float32, unbounded; their scale depends on the training.
        """
        x = _resize(images, self.input_size) / 127.5 - 1
        features: Tensor = self.project(self.blocks(x).mean(dim=3).flatten(1))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Compute user logits (N, ``num_users``) from ``features(images)``, (N, ``num_features``)."""
        logits: Tensor = self.head(F.relu(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Compute user logits (N, ``num_users``) float32 for (N, 3, H, W) uint8 images."""
        return self.classify(self.features(images))


def shrink(images: Tensor, size: int = 64) -> Tensor:
    """Resize (N, 3, H, W) uint8 images to (N, 3, ``size``, ``size``) uint8, antialiased."""
    return _resize(images, size).round().clamp(0, 255).to(torch.uint8)


def _block(channels_in: int, channels_out: int, kernel: int, stride: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(8, channels_out),
        nn.ReLU(inplace=True),
    )


def _resize(images: Tensor, size: int) -> Tensor:
    images = images.to(torch.float32)
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
