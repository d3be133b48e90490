"""Pictures side by side under captions, and figures as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8
TEXT_SIZE = 16


def picture_of(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure as RGB (H, W, 3), at its own size and resolution, without a display or pyplot."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture_sheet(
    rows: Mapping[str, Sequence[NDArray[np.uint8] | None]], captions: Sequence[str], height: int = 240
) -> NDArray[np.uint8]:
    """Draw a table of pictures with a caption over each column and a label before each row.

    Args:
        rows: Label → pictures (H, W, 3) or (H, W), one per caption; None leaves a place empty.
        captions: One per column.
        height: Height of a row's place in pixels; pictures keep their proportions within it.

    Returns:
        (H, W, 3), dark text on white. A column is as wide as its widest picture or its caption.

    Raises:
        ValueError: A row has another number of pictures than there are captions, or there is no picture.
    """
    for label, pictures in rows.items():
        if len(pictures) != len(captions):
            raise ValueError(f"row {label!r} has {len(pictures)} pictures under {len(captions)} captions")
    scaled = {label: [_scaled(picture, height) for picture in pictures] for label, pictures in rows.items()}
    if not any(image for images in scaled.values() for image in images):
        raise ValueError("there is no picture to put on the sheet")

    font = ImageFont.load_default(size=TEXT_SIZE)
    first = 2 * MARGIN + max(_text_width(label, font) for label in scaled)
    widths = [_text_width(caption, font) for caption in captions]
    for images in scaled.values():
        widths = [max(width, image.width if image else 0) for width, image in zip(widths, images, strict=True)]
    lefts = [first + sum(widths[:column]) + column * MARGIN for column in range(len(widths))]
    head = TEXT_SIZE + 2 * MARGIN
    size = (lefts[-1] + widths[-1] + MARGIN, head + len(scaled) * (height + MARGIN))

    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for caption, left, width in zip(captions, lefts, widths, strict=True):
        draw.text((left + width / 2, head / 2), caption, fill="black", font=font, anchor="mm")
    for row, (label, images) in enumerate(scaled.items()):
        top = head + row * (height + MARGIN)
        draw.text((MARGIN, top + height / 2), label, fill="black", font=font, anchor="lm")
        for image, left, width in zip(images, lefts, widths, strict=True):
            if image:
                sheet.paste(image, (left + (width - image.width) // 2, top))
    return np.asarray(sheet)


def _scaled(picture: NDArray[np.uint8] | None, height: int) -> Image.Image | None:
    if picture is None:
        return None
    image = Image.fromarray(picture).convert("RGB")
    # Enlarged pictures keep their pixels visible: smoothing would invent depth between them.
    method = Image.Resampling.NEAREST if height > image.height else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * height / image.height)), height), method)


def _text_width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(np.ceil(font.getlength(text)))
