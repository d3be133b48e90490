"""Figures of layers: contact sheet, exploded view, and an image before and after its decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from decomposition.layer import Layer
from exporters.visualization.contact_sheet import MARGIN, TEXT_SIZE
from exporters.visualization.layer_index import colour_index, shortened
from formats.images import on_white

_CHECK, _LIGHT, _DARK = 8, 236, 206  # side in pixels and greys of a checkerboard
_RESAMPLING = Image.Resampling.HAMMING  # no overshoot, which would draw a halo around a layer
_MAX_ASPECT = 1.8  # largest width of an image in a figure, as a multiple of the requested height
_MAX_SPREAD = 8  # number of layers that are drawn at the requested spacing; more are drawn closer
_FINE = 2  # supersampling, which smooths slanting edges
_SQUEEZE, _SLANT = 0.62, 0.22  # width of a tilted plate, and how far its right side sinks, as shares of its width
_GLASS, _RIM = (120, 150, 190, 8), (90, 110, 140, 130)


def layers_contact_sheet(layers: Sequence[Layer], columns: int = 5, height: int = 180) -> NDArray[np.uint8]:
    """Draw each layer on a checkerboard under its name, bottom layer first, wrapped into rows.

    Args:
        layers: At least one layer.
        columns: Largest number of layers in a row.
        height: Height of a layer in pixels.

    Returns:
        (H, W, 3), on white.

    Raises:
        ValueError: ``layers`` is empty.
    """
    if not layers:
        raise ValueError("at least one layer is needed")
    font = ImageFont.load_default(size=TEXT_SIZE)
    images = [on_checkerboard(layer.pixels, height) for layer in layers]
    names = [shortened(layer.name) for layer in layers]
    place = max(int(np.ceil(font.getlength(name))) for name in names)
    place = max(place, *(image.width for image in images))
    columns = min(columns, len(layers))
    step_x, step_y = place + MARGIN, height + TEXT_SIZE + 2 * MARGIN
    sheet = Image.new("RGB", (MARGIN + columns * step_x, MARGIN + -(-len(layers) // columns) * step_y), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, image) in enumerate(zip(names, images, strict=True)):
        left, top = MARGIN + number % columns * step_x, MARGIN + number // columns * step_y
        draw.text((left + place / 2, top + TEXT_SIZE / 2), name, fill="black", font=font, anchor="mm")
        sheet.paste(image, (left + (place - image.width) // 2, top + TEXT_SIZE + MARGIN // 2))
    return np.asarray(sheet)


def on_checkerboard(pixels: NDArray[np.uint8], height: int) -> Image.Image:
    """Scale RGBA (H, W, 4) to a height and paste it on a grey checkerboard."""
    layer = Image.fromarray(pixels)
    layer = layer.resize((max(1, round(layer.width * height / layer.height)), height), _RESAMPLING)
    down, right = np.indices((layer.height, layer.width)) // _CHECK
    board = Image.fromarray(np.where((down + right) % 2, _DARK, _LIGHT).astype(np.uint8)).convert("RGBA")
    return Image.alpha_composite(board, layer).convert("RGB")


def exploded_view(layers: Sequence[Layer], height: int = 360, spacing: float = 0.25) -> NDArray[np.uint8]:
    """Draw layers as tilted glass plates, one in front of another, the foremost at the right.

    Args:
        layers: At least one, bottom to top, all of one size.
        height: Height of an untilted layer in pixels; reduced for very wide ones.
        spacing: Distance between plates as a share of their drawn width; reduced for many layers.

    Returns:
        (H, W, 3), on white; the width grows with the number of layers.

    Raises:
        ValueError: ``layers`` is empty.
    """
    if not layers:
        raise ValueError("at least one layer is needed")
    height = _within(layers[0].pixels, height)
    plates = [_plate(layer.pixels, height * _FINE) for layer in layers]
    spacing *= min(1, _MAX_SPREAD / len(layers))
    step_x, step_y = round(spacing * plates[0].width), round(0.02 * height * _FINE)
    border = 4 * MARGIN * _FINE
    last = len(plates) - 1
    size = (plates[0].width + last * step_x + 2 * border, plates[0].height + last * step_y + 2 * border)
    view = Image.new("RGBA", size, "white")
    for number, plate in enumerate(plates):
        corner = (border + number * step_x, border + number * step_y)
        view.alpha_composite(*_shadow(plate, corner))
        view.alpha_composite(plate, corner)
    fine = view.convert("RGB")
    return np.asarray(fine.resize((fine.width // _FINE, fine.height // _FINE), _RESAMPLING))


def before_after_figure(
    image: NDArray[np.uint8], index: Tensor | ArrayLike, layers: Sequence[Layer], height: int = 360
) -> NDArray[np.uint8]:
    """Draw an illustration, its layer index and an exploded view of its layers, from left to right.

    Args:
        image: (H, W, 3) or (H, W, 4).
        index: (H, W), 0…1.
        layers: At least one, bottom to top.
        height: Height of the illustration in the figure in pixels; reduced for very wide ones.

    Returns:
        (H, W, 3), on white, with captions below.

    Raises:
        ValueError: ``layers`` is empty.
    """
    plain = Image.fromarray(on_white(image) if image.shape[2] == 4 else image)
    height = _within(image, height)
    width = max(1, round(plain.width * height / plain.height))
    images = [plain, Image.fromarray(colour_index(index))]
    framed = [_framed(image.resize((width, height), Image.Resampling.LANCZOS)) for image in images]
    parts = [*framed, Image.fromarray(exploded_view(layers, height))]
    captions = ("illustration", "layer index", f"{len(layers)} layers" if len(layers) > 1 else "1 layer")

    gap, caption_height = 3 * MARGIN, TEXT_SIZE + 2 * MARGIN
    tallest = max(part.height for part in parts)
    figure_width = sum(part.width for part in parts) + gap * (len(parts) + 1)
    figure = Image.new("RGB", (figure_width, tallest + caption_height + gap), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(size=TEXT_SIZE)
    left = gap
    for part, caption in zip(parts, captions, strict=True):
        figure.paste(part, (left, gap + (tallest - part.height) // 2))
        at = (left + part.width / 2, tallest + gap + caption_height / 2 - MARGIN / 2)
        draw.text(at, caption, fill=(60, 60, 60), font=font, anchor="mm")
        left += part.width + gap
    return np.asarray(figure)


def _within(pixels: NDArray[np.uint8], height: int) -> int:
    """Limit the height of an image (H, W, C) in a figure so that it is not too wide."""
    rows, columns = pixels.shape[:2]
    highest: int = round(_MAX_ASPECT * height * rows / columns)
    return max(1, min(height, highest))


def _plate(pixels: NDArray[np.uint8], height: int) -> Image.Image:
    """Draw a layer on a tilted pane of tinted glass."""
    layer = Image.fromarray(pixels)
    layer = layer.resize((max(1, round(layer.width * height / layer.height)), height), _RESAMPLING)
    pane = Image.new("RGBA", layer.size, _GLASS)
    pane.alpha_composite(layer)
    ImageDraw.Draw(pane).rectangle((0, 0, pane.width - 1, pane.height - 1), outline=_RIM, width=_FINE)
    width, drop = round(pane.width * _SQUEEZE), round(pane.width * _SQUEEZE * _SLANT)
    # Affine map from the plate back to the pane: x is stretched, y is shifted against the slant.
    matrix = (pane.width / width, 0, 0, -drop / width, 1, 0)
    return pane.transform((width, height + drop), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _shadow(plate: Image.Image, corner: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Return a blurred shadow of a plate, and its top left corner."""
    blur = 4 * _FINE
    alpha = np.pad(np.asarray(plate.getchannel("A")), 3 * blur)
    soft = np.asarray(Image.fromarray(alpha).filter(ImageFilter.GaussianBlur(blur)))
    shadow = np.zeros((*soft.shape, 4), dtype=np.uint8)
    shadow[..., 3] = soft // 4
    return Image.fromarray(shadow), (corner[0] - 4 * blur, corner[1] - 2 * blur)


def _framed(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=(200, 200, 200))
    return image
