"""A small network that tells walking people apart by their spectrograms, to judge generated ones with.

Its identification accuracy is one judgement; its features, learnt on the task's own images, are another:
Fréchet distances between them mean more for spectrograms than those between features of a network that knows
photographs.

Example::

    small = shrink(images)                                   # (N, 3, 256, 256) uint8 → (N, 3, 64, 64) uint8
    classifier = fit_classifier(small, users, num_users=5)
    accuracy = (classifier(shrink(others)).argmax(1) == other_users).float().mean()
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formats.errors import InputError


class SpectrogramClassifier(nn.Module):
    """User logits for spectrogram images whose rows are Doppler frequency and whose columns are time.

    Averages are taken over time alone: a person's step can fall anywhere in the window, but where the lines
    stand on the Doppler axis is the person's speed, and with it much of the identity.

    Args:
        num_users: Number of classes, at least 2.
        width: Channels of the first block, a multiple of 8. Features have ``2 · width`` values.
        input_size: Side in pixels to which images are resized inside, a multiple of 8.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self, num_users: int, width: int = 32, input_size: int = 64) -> None:
        super().__init__()
        if num_users < 2:
            raise InputError("num_users", f"{num_users} users cannot be told apart", "Give at least 2.")
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
        """Describe each image by a vector that does not depend on when in the window a step falls.

        Args:
            images: (N, 3, H, W) uint8 RGB, any size.

        Returns:
            (N, ``num_features``) float32, not bounded; their scale is the training's own.
        """
        x = _resize(images, self.input_size) / 127.5 - 1
        return self.project(self.blocks(x).mean(dim=3).flatten(1))

    def classify(self, features: Tensor) -> Tensor:
        """Turn ``features(images)``, (N, ``num_features``), into user logits, (N, ``num_users``)."""
        return self.head(F.relu(features))

    def forward(self, images: Tensor) -> Tensor:
        """Give user logits (N, ``num_users``) float32 for (N, 3, H, W) uint8 images."""
        return self.classify(self.features(images))


def shrink(images: Tensor, size: int = 64) -> Tensor:
    """Resize (N, 3, H, W) uint8 images to (N, 3, ``size``, ``size``) uint8, antialiased."""
    return _resize(images, size).round().clamp(0, 255).to(torch.uint8)


def fit_classifier(
    images: Tensor,
    users: Tensor,
    num_users: int,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
    device: torch.device | str = "cpu",
) -> SpectrogramClassifier:
    """Train a classifier on images that are already small.

    AdamW with a warm-up and a cosine; images are shifted in time by up to an eighth of their width, edges
    repeated, and never mirrored, since a walk run backwards has another signature. The same arguments on the same
    machine give the same weights, and the global random state is left as it was. It may be called from inside
    ``torch.inference_mode`` or autocast, as the steps of a test are.

    Args:
        images: (N, 3, h, w) uint8, see `shrink`.
        users: (N,) class index of each image, 0 … ``num_users`` − 1; not every class must appear.
        num_users: Number of classes.
        seed: Of initial weights, order and shifts.
        steps: Optimiser steps; by default ten passes over the images, but no fewer than 240 steps.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        device: Where to train and where the result lies.

    Returns:
        The classifier in evaluation mode, its parameters frozen.

    Raises:
        InputError: There are no images, or images and users do not fit together.
    """
    if len(images) == 0 or images.dtype != torch.uint8 or len(images) != len(users):
        fault = f"{len(images)} images of {images.dtype} with {len(users)} user indices"
        raise InputError("fit_classifier", fault, "Give uint8 images, at least one, and one index for each.")
    device = torch.device(device)
    steps = max(240, math.ceil(10 * len(images) / batch_size)) if steps is None else steps
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        images, users = images.to(device), users.to(device).long()
        model = _initialised(num_users, images.shape[-1], seed).to(device)
        generator = torch.Generator().manual_seed(seed)
        passes = math.ceil(steps * batch_size / len(images))
        order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(passes)])
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
        for rows in order[: steps * batch_size].to(device).split(batch_size):
            loss = F.cross_entropy(model(_shift_in_time(images[rows], generator)), users[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def _rate(progress: float) -> float:
    return min(1.0, 0.1 + 5 * progress) * (1 + math.cos(math.pi * progress)) / 2


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


def _initialised(num_users: int, input_size: int, seed: int) -> SpectrogramClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU as well
        return SpectrogramClassifier(num_users, input_size=input_size).to(torch.float32)


def _shift_in_time(images: Tensor, generator: torch.Generator) -> Tensor:
    count, width = len(images), images.shape[-1]
    shifts = torch.randint(-(width // 8), width // 8 + 1, (count, 1), generator=generator)
    columns = (torch.arange(width) + shifts).clamp(0, width - 1).to(images.device)
    return images.gather(3, columns[:, None, None, :].expand_as(images))
