"""Contact sheets: labelled tables of images, and figures rendered as images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8
TEXT_SIZE = 16


def render_figure(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure as RGB (H, W, 3) at its own size and resolution, without a display or pyplot."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def contact_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8] | None]], captions: Sequence[str] = (), height: int = 240
) -> NDArray[np.uint8]:
    """Draw a table of images with a label before each row and, where given, a caption above each column.

    Args:
        rows: Label → images (H, W, 3) or (H, W); None leaves a cell empty. With captions, a row has one image per
            caption; without, rows may differ in length.
        captions: One per column, or none at all.
        height: Height of a row in pixels; images keep their proportions.

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
    widths = [_text_width(caption, font) for caption in captions] or [0] * max(map(len, scaled.values()))
    for cells in scaled.values():
        for column, image in enumerate(cells):
            widths[column] = max(widths[column], image.width if image else 0)
    lefts = [first + sum(widths[:column]) + column * MARGIN for column in range(len(widths))]
    head = TEXT_SIZE + 2 * MARGIN if captions else MARGIN
    size = (lefts[-1] + widths[-1] + MARGIN, head + len(scaled) * (height + MARGIN))

    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for caption, left, width in zip(captions, lefts, widths, strict=False):
        draw.text((left + width / 2, head / 2), caption, fill="black", font=font, anchor="mm")
    for row, (label, cells) in enumerate(scaled.items()):
        top = head + row * (height + MARGIN)
        draw.text((MARGIN, top + height / 2), label, fill="black", font=font, anchor="lm")
        for image, left, width in zip(cells, lefts, widths, strict=False):  # rows may differ in length
            if image:
                sheet.paste(image, (left + (width - image.width) // 2, top))
    return np.asarray(sheet)


def _resized(pixels: NDArray[np.uint8] | None, height: int) -> Image.Image | None:
    if pixels is None:
        return None
    image = Image.fromarray(pixels).convert("RGB")
    # Enlarged images keep their pixels visible: smoothing would invent depth between them.
    method = Image.Resampling.NEAREST if height > image.height else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * height / image.height)), height), method)


def _text_width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(np.ceil(font.getlength(text)))
