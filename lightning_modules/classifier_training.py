"""Training of the small classifier that judges generated spectrograms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from formats.errors import InputError
from formats.progress import progress
from networks.spectrogram_classifier import SpectrogramClassifier


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

    AdamW with a warm-up and a cosine. Images are shifted in time by up to an eighth of their width, with edges
    repeated, and never mirrored, since a walk played backwards has another signature. The same arguments on the
    same machine with the same number of threads give the same weights, and the global random state is left unchanged.
    It may be called inside ``torch.inference_mode`` or autocast, in which Lightning runs the steps of a test.

    Args:
        images: (N, 3, h, w) uint8, see :func:`networks.spectrogram_classifier.shrink`.
        users: (N,) class index of each image, 0 … ``num_users`` − 1; not every class must appear.
        num_users: Number of classes.
        seed: Seed of initial weights, order and shifts.
        steps: Optimiser steps; by default ten passes over the images, but at least 240 steps.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        device: Device to train on; the result stays there.

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
        batches = order[: steps * batch_size].to(device).split(batch_size)
        for rows in progress(batches, "training steps of the classifier"):
            loss = F.cross_entropy(model(shift_in_time(images[rows], generator)), users[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


def shift_in_time(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image (N, 3, h, w) along its columns by up to an eighth of the width, with edges repeated."""
    count, width = len(images), images.shape[-1]
    shifts = torch.randint(-(width // 8), width // 8 + 1, (count, 1), generator=generator)
    columns = (torch.arange(width) + shifts).clamp(0, width - 1).to(images.device)
    return images.gather(3, columns[:, None, None, :].expand_as(images))


def _rate(progress: float) -> float:
    return min(1.0, 0.1 + 5 * progress) * (1 + math.cos(math.pi * progress)) / 2


def _initialised(num_users: int, input_size: int, seed: int) -> SpectrogramClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed every GPU
        return SpectrogramClassifier(num_users, input_size=input_size).to(torch.float32)
