"""Base of all layouts of layered art: samples, and the paint orders of a stack of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from formats.errors import InputError

OPAQUE = 26  # of 255: pixels with alpha above 0.1 count as painted
REMEDY = "Repair the sample or take it out of the dataset; --data.on_error skip continues without it."


class LayeredImage(NamedTuple):
    """An image and its paint orders.

    Attributes:
        image: (H, W, 3), RGB.
        orders: (H, W), order of the topmost layer: 0 the background, 1 … n from below.
        layer_count: Number n of layers, at least 1.
    """

    image: NDArray[np.uint8]
    orders: NDArray[np.uint16]
    layer_count: int


@dataclass(frozen=True)
class ArtSample:
    """Location of a sample of layered art.

    Attributes:
        category: Style or subject of the image.
        name: Name, distinct within the category and independent of other samples.
        path: Path of its image, its folder, or the file with its row.
        row: Number of its row in that file.
        split: ``train`` or ``val`` where the dataset defines splits.
    """

    category: str
    name: str
    path: Path
    row: int = 0
    split: Literal["train", "val"] | None = None


class LayeredArt(ABC):
    """A dataset of layered art in one layout.

    Args:
        root: Folder of the dataset.

    Attributes:
        samples: All samples, sorted by category and name.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.samples = sorted(self.find(), key=lambda sample: (sample.category, sample.name))

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether the folder has this layout."""

    @abstractmethod
    def find(self) -> Iterable[ArtSample]:
        """List the samples without opening their images.

        Raises:
            InputError: The list of samples cannot be read.
        """

    @abstractmethod
    def files(self, sample: ArtSample) -> list[Path]:
        """Return the files that a sample requires, as far as known before reading it."""

    @abstractmethod
    def read(self, sample: ArtSample) -> LayeredImage:
        """Read a sample.

        Raises:
            InputError: A file or a column is missing or broken, or sizes do not match.
        """


def painted_orders(size: tuple[int, int], layers: Iterable[tuple[str, NDArray[np.uint8], Any]]) -> NDArray[np.uint16]:
    """Compute the paint orders (H, W) of layers on a canvas; pixels with alpha above 0.1 count as painted.

    Args:
        size: Height and width of the canvas.
        layers: Layers from below, each with its location for error messages, its pixels (h, w, 4), RGBA, as large as
            its box or the canvas, and its box [x0, y0, x1, y1] on the canvas in pixels; None for the whole canvas.

    Raises:
        InputError: A box is malformed or not on the canvas, or a layer has another size.
    """
    height, width = size
    orders = np.zeros(size, dtype=np.uint16)
    for order, (where, pixels, box) in enumerate(layers, start=1):
        x0, y0, x1, y1 = place = box_on_canvas(where, [0, 0, width, height] if box is None else box, width, height)
        check_layer_size(where, pixels, place, size)
        alpha = pixels[..., 3]
        if alpha.shape == size:
            alpha = alpha[y0:y1, x0:x1]
        orders[y0:y1, x0:x1][alpha >= OPAQUE] = order
    return orders


def check_layer_size(
    where: str, pixels: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    """Check that a layer (h, w, 4) is as large as its box or the canvas.

    Raises:
        InputError: It has another size.
    """
    x0, y0, x1, y1 = box
    height, width = pixels.shape[:2]
    if (height, width) not in (size, (y1 - y0, x1 - x0)):
        fault = f"has {width}×{height} pixels, its box {x1 - x0}×{y1 - y0}, the canvas {size[1]}×{size[0]}"
        raise InputError(where, fault, REMEDY)


def box_on_canvas(where: str, box: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """Round a box [x0, y0, x1, y1] to pixels.

    Raises:
        InputError: It is malformed, empty or not within the canvas.
    """
    try:
        x0, y0, x1, y1 = (round(float(side)) for side in box)
    except (TypeError, ValueError, OverflowError):
        raise InputError(where, f"has the box {box!r}, which is not [x0, y0, x1, y1]", REMEDY) from None
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        fault = f"has the box {[x0, y0, x1, y1]}, which is not within the canvas of {width}×{height} pixels"
        raise InputError(where, fault, REMEDY)
    return x0, y0, x1, y1
