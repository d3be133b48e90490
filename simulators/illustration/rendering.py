"""Paints flat elements over one another, and tells for every pixel which was painted last."""

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
    """A picture and which layer painted each pixel.

    Attributes:
        image: (H, W, 3), antialiased.
        orders: (H, W), 0 the background, else the place of the topmost layer that covers the pixel's centre among
            all layers that can be seen, 1 … n from below.
    """

    image: NDArray[np.uint8]
    orders: NDArray[np.uint16]


@dataclass(frozen=True)
class Element:
    """Something painted in one go: one layer. The canvas is 1 wide and 1 high.

    Attributes:
        outlines: Filled, one beside or over another.
        colour: Of the fill.
        end_colour: Where the fill is a gradient, the colour it ends in.
        direction: Of the gradient over the element's extent, x and y.
        opacity: In 0…1; what shines through is covered all the same.
        stroke: Colour of a line along the outlines, part of the element.
        stroke_width: Of that line.
        holes: Cut out of the fill.
        clip: The element is seen within this outline only.
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

    The picture is the mean of 3 × 3 samples per pixel; orders are those of the sample in the pixel's middle, out of
    the same masks.
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
    """Number the layers that can be seen 1 … n, and leave 0 the background."""
    counts = np.bincount(orders.ravel(), minlength=1)
    places = np.cumsum(counts > 0) - (counts[0] > 0)
    places[0] = 0
    return places.astype(np.uint16)[orders]


def _paint(
    canvas: Image.Image,
    topmost: NDArray[np.uint16],
    number: int,
    element: Element,
    outlines: Sequence[Outline],
    flat: Colour | None,
) -> None:
    """Paint outlines in a flat colour, or else in the element's own paint."""
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
    seen = np.asarray(mask)[
        first_row * SAMPLES + middle - box[1] :: SAMPLES, first_column * SAMPLES + middle - box[0] :: SAMPLES
    ]
    window = topmost[first_row : first_row + seen.shape[0], first_column : first_column + seen.shape[1]]
    window[seen > 0] = number
    if element.opacity < 1:
        mask = mask.point([0] * 255 + [round(element.opacity * 255)])
    if flat is None and element.end_colour is not None:
        canvas.paste(_gradient(element, box), box, mask)
    else:
        canvas.paste(flat or element.colour, box, mask)


def _mask(
    outlines: Sequence[Outline], holes: Sequence[Outline], box: tuple[int, int, int, int], side: int
) -> Image.Image:
    """255 where samples of ``box`` are inside the outlines and outside the holes."""
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    draw = ImageDraw.Draw(mask)
    for parts, value in ((outlines, 255), (holes, 0)):
        for outline in parts:
            # Whole numbers, since the rasteriser takes nothing else: sample k has its centre at k + ½.
            corners = np.floor(outline * side).astype(int) - box[:2]
            draw.polygon(corners.ravel().tolist(), fill=value)
    return mask


def _gradient(element: Element, box: tuple[int, int, int, int]) -> Image.Image:
    """A linear gradient over ``box``, drawn small and enlarged, since it is smooth."""
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = element.direction
    along = x * np.linspace(-0.5, 0.5, 24)[None] + y * np.linspace(-0.5, 0.5, 24)[:, None]
    along = (along / max(abs(x) + abs(y), 1e-9) + 0.5)[..., None]
    start, end = np.array(element.colour), np.array(element.end_colour)
    colours = np.rint(start + (end - start) * along).astype(np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR)
