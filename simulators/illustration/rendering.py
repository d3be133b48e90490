"""Rendering of flat elements in order, with the topmost element at every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from simulators.illustration.shapes import Outline, outset

Colour = tuple[int, int, int]

SAMPLES = 3  # per side of a pixel; odd, so that one of them is its centre


class Illustration(NamedTuple):
    """An image and the layer that painted each pixel.

    Attributes:
        image: (H, W, 3), antialiased.
        orders: (H, W), 0 the background, else the order of the topmost layer that covers the pixel's centre, among
            all visible layers, 1 … n from below.
    """

    image: NDArray[np.uint8]
    orders: NDArray[np.uint16]


@dataclass(frozen=True)
class Element:
    """One layer, painted at once, on a canvas of width and height 1.

    Attributes:
        outlines: Filled outlines.
        colour: Colour of the fill.
        end_colour: Last colour of a gradient; None for a flat fill.
        direction: Direction of the gradient over the element's extent, x and y.
        opacity: Opacity in 0…1; a translucent element still counts as topmost.
        stroke: Colour of a line along the outlines; None for no line.
        stroke_width: Width of that line.
        holes: Outlines cut out of the fill.
        clip: Outline that the element is clipped to.
    """

    outlines: tuple[Outline, ...]
    colour: Colour
    end_colour: Colour | None = None
    direction: tuple[float, float] = (0.0, 1.0)
    opacity: float = 1.0
    stroke: Colour | None = None
    stroke_width: float = 0.0
    holes: tuple[Outline, ...] = ()
    clip: Outline | None = None


def render(elements: Sequence[Element], size: int, background: Colour = (255, 255, 255)) -> Illustration:
    """Paint elements in order on a square of ``size`` pixels.

    The image is the mean of 3 × 3 samples per pixel; orders are those of the central sample.
    """
    canvas = Image.new("RGB", (size * SAMPLES, size * SAMPLES), background)
    topmost = np.zeros((size, size), dtype=np.uint16)
    for number, element in enumerate(elements, start=1):
        fringe = element.stroke_width / 2 if element.stroke else 0.0
        if fringe and element.stroke:
            outer = tuple(outset(outline, fringe) for outline in element.outlines)
            _paint(canvas, topmost, number, element, outer, element.stroke)
        inner = tuple(outset(outline, -fringe) for outline in element.outlines) if fringe else element.outlines
        _paint(canvas, topmost, number, element, inner, None)
    return Illustration(np.asarray(canvas.reduce(SAMPLES)), compact_orders(topmost))


def compact_orders(orders: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Renumber the visible layers 1 … n; 0 remains the background."""
    counts = np.bincount(orders.ravel(), minlength=1)
    numbers = np.cumsum(counts > 0) - (counts[0] > 0)
    numbers[0] = 0
    return np.asarray(numbers.astype(np.uint16)[orders])


def _paint(
    canvas: Image.Image,
    topmost: NDArray[np.uint16],
    number: int,
    element: Element,
    outlines: Sequence[Outline],
    flat: Colour | None,
) -> None:
    """Paint outlines in a flat colour, by default in the element's own paint."""
    side = canvas.width
    corners = np.concatenate(outlines)
    left, top = np.clip(np.floor(corners.min(axis=0) * side).astype(int) - 1, 0, side)
    right, bottom = np.clip(np.ceil(corners.max(axis=0) * side).astype(int) + 2, 0, side)
    if left >= right or top >= bottom:
        return
    box = (int(left), int(top), int(right), int(bottom))
    mask = _mask(outlines, element.holes, box, side)
    if element.clip is not None:
        mask = ImageChops.darker(mask, _mask([element.clip], (), box, side))
    middle = SAMPLES // 2
    first_row, first_column = -((middle - box[1]) // SAMPLES), -((middle - box[0]) // SAMPLES)
    covered = np.asarray(mask)[
        first_row * SAMPLES + middle - box[1] :: SAMPLES, first_column * SAMPLES + middle - box[0] :: SAMPLES
    ]
    window = topmost[first_row : first_row + covered.shape[0], first_column : first_column + covered.shape[1]]
    window[covered > 0] = number
    if element.opacity < 1:
        mask = mask.point([0] * 255 + [round(element.opacity * 255)])
    if flat is None and element.end_colour is not None:
        canvas.paste(_gradient(element, box), box, mask)
    else:
        canvas.paste(flat or element.colour, box, mask)


def _mask(
    outlines: Sequence[Outline], holes: Sequence[Outline], box: tuple[int, int, int, int], side: int
) -> Image.Image:
    """Draw a mask of the samples in ``box``: 255 inside the outlines and outside the holes."""
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    draw = ImageDraw.Draw(mask)
    for parts, value in ((outlines, 255), (holes, 0)):
        for outline in parts:
            # The rasteriser takes integers only: sample k has its centre at k + ½.
            corners = np.floor(outline * side).astype(int) - box[:2]
            draw.polygon(corners.ravel().tolist(), fill=value)
    return mask


def _gradient(element: Element, box: tuple[int, int, int, int]) -> Image.Image:
    """Draw a linear gradient over ``box``, at low resolution and enlarged."""
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = element.direction
    along = x * np.linspace(-0.5, 0.5, 24)[None] + y * np.linspace(-0.5, 0.5, 24)[:, None]
    along = (along / max(abs(x) + abs(y), 1e-9) + 0.5)[..., None]
    start, end = np.array(element.colour), np.array(element.end_colour)
    colours = np.rint(start + (end - start) * along).astype(np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR)
