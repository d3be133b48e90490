"""Small sections of each kind for tests of reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from callbacks.layer_writer import LayerWriter
from exporters.visualization.report.layers import LayeredImage, layers_section
from exporters.visualization.report.page import Section
from exporters.visualization.report.scene import Scene, scene_section
from exporters.visualization.report.spectrograms import SpectrogramRow, spectrograms_section
from formats.spectrogram_axes import SpectrogramAxes


def squares(side: int = 48) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw a red square on white and a smaller blue one on it, and return the image (RGBA) and its index."""
    image = np.full((side, side + 16, 4), 255, np.uint8)
    index = np.zeros((side, side + 16), np.float32)
    for level, (low, high, colour) in enumerate(((8, 36, (200, 20, 20)), (16, 28, (20, 20, 200))), start=1):
        image[low:high, low:high, :3] = colour
        index[low:high, low:high] = level / 2
    return image, index


def layers(folder: Path, max_bytes: int = 1_000_000) -> Section:
    """Write the layers of the squares, and return their section."""
    separation = LayerWriter().write(folder / "squares", *squares())
    names = [layer.name for layer in separation.layers]
    return layers_section(LayeredImage(folder / "squares", names, separation.note), max_bytes)


def flat_scene(distance: float = 2.0) -> Scene:
    """Two cameras, one unit apart, that look at a wall."""
    extrinsics = torch.eye(4)[:3].repeat(2, 1, 1)
    extrinsics[1, 0, 3] = -1
    matrix = torch.tensor([[20.0, 0, 11.5], [0, 20.0, 7.5], [0, 0, 1]])
    return Scene(torch.full((2, 16, 24), distance), extrinsics, matrix.repeat(2, 1, 1))


def scene() -> Section:
    """Return the section of a wall that is predicted nearer than it is."""
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    return scene_section("Wall", ["left", "right"], images, flat_scene(1.5), flat_scene(2.0), "a note")


def spectrograms() -> Section:
    """Return the section of two users, real and generated."""
    rng = np.random.default_rng(0)
    rows = [
        SpectrogramRow(user, kind, list(rng.integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)))
        for user in (1, 4)
        for kind in ("real", "generated")
    ]
    return spectrograms_section("Spectrograms", rows, SpectrogramAxes(2.0, -1.0, 4.0))
