"""Colour regions: gradients stay whole, antialiased pixels join a side, thin lines are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from decomposition.colour_regions import colour_regions


def scene(scale: int = 4) -> NDArray[np.uint8]:
    """A black disc and a thin grey line on white, antialiased."""
    image = Image.new("RGB", (96 * scale, 96 * scale), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse([20 * scale, 20 * scale, 70 * scale, 70 * scale], fill=(0, 0, 0))
    draw.line([5 * scale, 90 * scale, 90 * scale, 80 * scale], fill=(200, 0, 0), width=scale)
    return np.asarray(image.resize((96, 96), Image.Resampling.BOX))


def test_every_pixel_belongs_to_a_region_without_gaps() -> None:
    labels = colour_regions(scene())
    assert labels.shape == (96, 96)
    assert set(np.unique(labels)) == set(range(labels.max() + 1))


def test_antialiased_pixels_join_a_side_and_make_no_region() -> None:
    labels = colour_regions(scene())
    assert len({labels[0, 0], labels[45, 45]}) == 2
    rows, columns = np.mgrid[:96, :96] + 0.5
    disc = np.hypot(rows - 45.5, columns - 45.5) < 25.1
    assert (labels == labels[45, 45])[disc].mean() > 0.97
    assert (labels == labels[45, 45])[~disc].mean() < 0.02


def test_a_line_of_one_pixel_is_a_region() -> None:
    labels = colour_regions(scene())
    column = np.asarray(labels[76:95, 40])
    assert len(np.unique(column)) >= 2
    assert labels.max() + 1 <= 6


def test_a_gradient_is_one_region() -> None:
    image = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    assert colour_regions(image).max() == 0


def test_the_largest_regions_are_kept() -> None:
    image = np.full((60, 60, 3), 255, np.uint8)
    for size, column in ((12, 2), (8, 20), (4, 40)):
        image[5 : 5 + size, column : column + size] = 0
    assert colour_regions(image).max() + 1 == 4
    labels = colour_regions(image, max_regions=3)
    assert labels.max() + 1 == 3
    assert labels[6, 41] == labels[0, 0]


def test_an_image_of_one_pixel() -> None:
    assert colour_regions(np.zeros((1, 1, 3), np.uint8)).tolist() == [[0]]
