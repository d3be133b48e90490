"""Grids of spectrograms, one labelled row per user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MARGIN = 6
LABEL_WIDTH = 92


def sample_name(user_id: int, index: int) -> str:
    """Return the file name of sample ``index`` (from 0) of a user; numbers in names start at 1."""
    return f"micro_doppler_user{user_id:02d}_{index + 1:03d}.png"


def spectrogram_grid(rows: Mapping[str, Sequence[NDArray[np.uint8]]], side: int = 192) -> NDArray[np.uint8]:
    """Draw a grid with a label before each row.

    Args:
        rows: Label → images (H, W, 3); rows may differ in length.
        side: Side of an image in the grid, in pixels.

    Returns:
        (H, W, 3), dark text on white.
    """
    columns = max(len(images) for images in rows.values())
    step = side + MARGIN
    sheet = Image.new("RGB", (LABEL_WIDTH + columns * step + MARGIN, len(rows) * step + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for row, (label, images) in enumerate(rows.items()):
        top = MARGIN + row * step
        draw.text((MARGIN + 4, top + side // 2), label, fill="black", font=font, anchor="lm")
        for column, image in enumerate(images):
            resized = Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(resized, (LABEL_WIDTH + column * step, top))
    return np.asarray(sheet)
