"""Contact sheets: labelled tables of images, and figures rendered as images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8
TEXT_SIZE = 16
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
TICK = 5  # length of a tick in pixels


@dataclass(frozen=True)
class Scale:
    """Values along a side of every image.

    Args:
        first: Value at the left or lower edge.
        last: Value at the right or upper edge.
        unit: Unit of the values, written at the last tick.
    """

    first: float
    last: float
    unit: str

    def ticks(self) -> list[tuple[float, str]]:
        """Return about four round values, each as a share of the side and its text."""
        values = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(self.first, self.last)
        inside = [value for value in values if self.first <= value <= self.last]
        texts = [f"{value:g}" for value in inside[:-1]] + [f"{inside[-1]:g} {self.unit}"]
        return [((v - self.first) / (self.last - self.first), text) for v, text in zip(inside, texts, strict=True)]


def render_figure(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure as RGB (H, W, 3) at its own size and resolution, without a display or pyplot."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def contact_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8] | None]],
    captions: Sequence[str] = (),
    height: int = 240,
    across: Scale | None = None,
    up: Scale | None = None,
) -> NDArray[np.uint8]:
    """Draw a table of images with a label before each row and, where given, a caption above each column.

    Args:
        rows: Label → images (H, W, 3) or (H, W); None leaves a cell empty. With captions, a row has one image per
            caption; without, rows may differ in length.
        captions: One per column, or none at all.
        height: Height of a row in pixels; images keep their proportions.
        across: Values from the left to the right of each image, drawn below the last row.
        up: Values from the bottom to the top of each image, drawn before each row.

    Returns:
        (H, W, 3), dark text on white. A column is as wide as its widest image or its caption.

    Raises:
        ValueError: The number of images in a row is not the number of captions, or there are no images.
    """
    for label, images in rows.items():
        if captions and len(images) != len(captions):
            raise ValueError(f"row {label!r} has {len(images)} images under {len(captions)} captions")
    scaled = {label: [_resized(image, height) for image in images] for label, images in rows.items()}
    if not any(image for cells in scaled.values() for image in cells):
        raise ValueError("the contact sheet has no images")

    font = ImageFont.load_default(size=TEXT_SIZE)
    first = 2 * MARGIN + max(_text_width(label, font) for label in scaled)
    if up:
        first += MARGIN + TICK + max(_text_width(text, font) for _, text in up.ticks())
    widths = [_text_width(caption, font) for caption in captions] or [0] * max(map(len, scaled.values()))
    for cells in scaled.values():
        for column, image in enumerate(cells):
            widths[column] = max(widths[column], image.width if image else 0)
    lefts = [first + sum(widths[:column]) + column * MARGIN for column in range(len(widths))]
    head = TEXT_SIZE + 2 * MARGIN if captions else MARGIN
    foot = MARGIN + TICK + TEXT_SIZE if across else 0
    size = (lefts[-1] + widths[-1] + MARGIN, head + len(scaled) * (height + MARGIN) + foot)

    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for caption, left, width in zip(captions, lefts, widths, strict=False):
        draw.text((left + width / 2, head / 2), caption, fill="black", font=font, anchor="mm")
    for row, (label, cells) in enumerate(scaled.items()):
        top = head + row * (height + MARGIN)
        draw.text((MARGIN, top + height / 2), label, fill="black", font=font, anchor="lm")
        if up:
            _draw_upward(draw, up, lefts[0], top + height, height, font)
        for image, left, width in zip(cells, lefts, widths, strict=False):  # rows may differ in length
            if image:
                sheet.paste(image, (left + (width - image.width) // 2, top))
    if across:
        for column, (left, width) in enumerate(zip(lefts, widths, strict=True)):
            of_column = [cells[column] for cells in scaled.values() if column < len(cells)]
            shown = max((image.width for image in of_column if image), default=width)
            _draw_across(draw, across, left + (width - shown) // 2, size[1] - foot - MARGIN, shown, font)
    return np.asarray(sheet)


def _resized(pixels: NDArray[np.uint8] | None, height: int) -> Image.Image | None:
    if pixels is None:
        return None
    image = Image.fromarray(pixels).convert("RGB")
    # Enlarged images keep their pixels visible: smoothing would invent depth between them.
    method = Image.Resampling.NEAREST if height > image.height else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * height / image.height)), height), method)


def _draw_across(draw: ImageDraw.ImageDraw, scale: Scale, left: int, top: int, width: int, font: Font) -> None:
    for share, text in scale.ticks():
        x = left + share * (width - 1)
        draw.line([(x, top), (x, top + TICK)], fill="black")
        half = _text_width(text, font) / 2  # texts at an edge stay below the image, clear of the next one's
        inside = min(max(x, left + half), left + width - half)
        draw.text((inside, top + TICK + 2), text, fill="black", font=font, anchor="mt")


def _draw_upward(draw: ImageDraw.ImageDraw, scale: Scale, right: int, bottom: int, height: int, font: Font) -> None:
    for share, text in scale.ticks():
        y = bottom - 1 - share * (height - 1)
        draw.line([(right - TICK - 1, y), (right - 1, y)], fill="black")
        # Texts at an edge stay within the row, so that those of two rows do not meet.
        inside = min(max(y, bottom - height + TEXT_SIZE / 2), bottom - TEXT_SIZE / 2)
        draw.text((right - TICK - 4, inside), text, fill="black", font=font, anchor="rm")


def _text_width(text: str, font: Font) -> int:
    return int(np.ceil(font.getlength(text)))
