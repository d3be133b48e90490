"""Layer index, its error and the layers themselves as pictures that a person can judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from decomposition.layer import Layer
from exporters.visualization.contact_sheet import MARGIN, TEXT_SIZE, contact_sheet
from exporters.visualization.depth import INVALID
from geometry.arrays import bool_array, float_array

COLOURS = "inferno"  # lightness rises evenly over its whole range, so that order is seen and neighbours differ
LARGEST_DIFFERENCE = 0.5  # of the range of indices; fixed, so that pictures of different runs can be compared

LEGEND = (
    "Index: from black (0, the background) to pale yellow (1, the foremost); the predicted one is brought to the "
    "median and the spread of the true one. Difference: predicted − true, red where the prediction is too far to the "
    f"front, blue where too far to the back, darkest at {LARGEST_DIFFERENCE} and more. Grey: not counted."
)

_CAPTIONS = ("input", "true index", "predicted index", "difference")
_TOO_FAR_BACK, _TOO_FAR_FRONT = ((5, 48, 97), (67, 147, 195)), ((214, 96, 77), (103, 0, 31))  # of a "RdBu" scale
_LONGEST_NAME = 24  # characters
_CHECK, _LIGHT, _DARK = 8, 236, 206  # pixels and greys of a checkerboard
_REDUCING = Image.Resampling.HAMMING  # without overshoot, which would draw a halo around a layer


def colour_index(index: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None) -> NDArray[np.uint8]:
    """Colour a layer index from black (0, the background) to pale yellow (1, the foremost).

    Args:
        index: (H, W), 0…1; what lies outside is drawn as the nearest end.
        mask: (H, W) bool, which pixels count; None takes every finite one.

    Returns:
        (H, W, 3); dark grey where not counted.

    Raises:
        ValueError: The index is not (H, W), or the mask has another shape.
    """
    values, counted = _masked(index, mask)
    picture = colormaps[COLOURS](np.clip(np.where(counted, values, 0), 0, 1), bytes=True)[..., :3].copy()
    picture[~counted] = INVALID
    return picture


def index_to_16bit(index: Tensor | ArrayLike) -> NDArray[np.uint16]:
    """Turn a layer index in 0…1 into 0…65535, linearly and to the nearest number, halves upward.

    Args:
        index: (H, W); what lies outside 0…1 becomes the nearest end.

    Raises:
        ValueError: A number is NaN.
    """
    values = float_array(index)
    if np.isnan(values).any():
        raise ValueError("a layer index that is NaN cannot be written")
    return np.floor(np.clip(values, 0, 1) * 65535 + 0.5).astype(np.uint16)


def aligned_index(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None
) -> NDArray[np.float64]:
    """Bring a predicted index to the median and the spread of the true one.

    The loss and the metrics compare maps after subtracting the median and dividing by the mean absolute deviation
    from it, so a prediction's offset and positive scale mean nothing; this takes out exactly these two. The scale
    is never negative: a prediction of reversed order stays reversed.

    Args:
        predicted: (H, W), any range; a constant one becomes the true median.
        true: (H, W).
        mask: (H, W) bool, which pixels medians and spreads are taken over; None takes all that are finite in both.

    Returns:
        (H, W), in the true index's range or beyond; not clipped.

    Raises:
        ValueError: The shapes differ.
    """
    guess, truth, counted = _pair(predicted, true, mask)
    if not counted.any():
        return guess
    guess_median, truth_median = np.median(guess[counted]), np.median(truth[counted])
    guess_spread = np.abs(guess[counted] - guess_median).mean()
    truth_spread = np.abs(truth[counted] - truth_median).mean()
    scale = truth_spread / guess_spread if guess_spread > 1e-9 else 0.0
    return np.asarray((guess - guess_median) * scale + truth_median)


def difference_picture(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Colour predicted − true, after `aligned_index`: red too far to the front, blue too far to the back, white 0.

    Args:
        predicted: (H, W), any range.
        true: (H, W), 0…1.
        mask: (H, W) bool, which pixels count; None takes all that are finite in both.

    Returns:
        (H, W, 3), on a fixed scale up to ±0.5; dark grey where not counted.

    Raises:
        ValueError: The shapes differ.
    """
    _, truth, counted = _pair(predicted, true, mask)
    difference = np.where(counted, aligned_index(predicted, true, mask) - truth, 0) / LARGEST_DIFFERENCE
    stops = np.array([*_TOO_FAR_BACK, (255, 255, 255), *_TOO_FAR_FRONT])
    places = np.linspace(-1, 1, len(stops))
    channels = [np.interp(difference, places, stops[:, channel]) for channel in range(3)]
    picture = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
    picture[~counted] = INVALID
    return picture


def layer_index_sheet(
    images: Tensor | ArrayLike,
    true: Tensor | ArrayLike,
    predicted: Tensor | ArrayLike,
    masks: Tensor | ArrayLike | None = None,
    names: Sequence[str] | None = None,
    height: int = 240,
) -> NDArray[np.uint8]:
    """Draw a row per image: input, true index, predicted index (aligned to the true one) and their difference.

    Args:
        images: (B, 3, H, W) uint8.
        true: (B, H, W) or (B, 1, H, W), 0…1.
        predicted: Like ``true``, any range.
        masks: Like ``true``, bool: which pixels count; None takes all that are finite in both.
        names: B labels; None numbers the rows.
        height: Of a row in pixels.

    Returns:
        (H, W, 3), on white.

    Raises:
        ValueError: The shapes do not fit together.
    """
    pictures = float_array(images).astype(np.uint8).transpose(0, 2, 3, 1)
    shape = pictures.shape[:3]
    truths, guesses = (float_array(maps).reshape(shape) for maps in (true, predicted))
    counted = np.ones(shape, dtype=np.bool_) if masks is None else bool_array(masks).reshape(shape)
    labels = [str(number) for number in range(1, len(pictures) + 1)] if names is None else list(names)
    rows: dict[str, list[NDArray[np.uint8] | None]] = {}
    for label, picture, truth, guess, mask in zip(labels, pictures, truths, guesses, counted, strict=True):
        shown = [picture, colour_index(truth, mask), colour_index(aligned_index(guess, truth, mask), mask)]
        rows[_distinct(_shortened(label), rows)] = [*shown, difference_picture(guess, truth, mask)]
    return contact_sheet(rows, _CAPTIONS, height)


def layers_contact_sheet(layers: Sequence[Layer], columns: int = 5, height: int = 180) -> NDArray[np.uint8]:
    """Draw each layer on a checkerboard under its name, bottom layer first, wrapped into rows.

    Args:
        layers: At least one.
        columns: Most layers in a row.
        height: Of a layer in pixels.

    Returns:
        (H, W, 3), on white.

    Raises:
        ValueError: There is no layer.
    """
    if not layers:
        raise ValueError("there is no layer to draw")
    font = ImageFont.load_default(size=TEXT_SIZE)
    pictures = [on_checkerboard(layer.pixels, height) for layer in layers]
    names = [_shortened(layer.name) for layer in layers]
    place = max(int(np.ceil(font.getlength(name))) for name in names)
    place = max(place, *(picture.width for picture in pictures))
    columns = min(columns, len(layers))
    step_x, step_y = place + MARGIN, height + TEXT_SIZE + 2 * MARGIN
    sheet = Image.new("RGB", (MARGIN + columns * step_x, MARGIN + -(-len(layers) // columns) * step_y), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        left, top = MARGIN + number % columns * step_x, MARGIN + number // columns * step_y
        draw.text((left + place / 2, top + TEXT_SIZE / 2), name, fill="black", font=font, anchor="mm")
        sheet.paste(picture, (left + (place - picture.width) // 2, top + TEXT_SIZE + MARGIN // 2))
    return np.asarray(sheet)


def on_checkerboard(pixels: NDArray[np.uint8], height: int) -> Image.Image:
    """Scale RGBA (H, W, 4) to a height and lay it on a grey checkerboard."""
    layer = Image.fromarray(pixels)
    layer = layer.resize((max(1, round(layer.width * height / layer.height)), height), _REDUCING)
    down, right = np.indices((layer.height, layer.width)) // _CHECK
    board = Image.fromarray(np.where((down + right) % 2, _DARK, _LIGHT).astype(np.uint8)).convert("RGBA")
    return Image.alpha_composite(board, layer).convert("RGB")


def exploded_view(layers: Sequence[Layer], height: int = 360, spacing: float = 0.25) -> NDArray[np.uint8]:
    """Draw layers as glass plates one behind another, seen from the side, the foremost at the right.

    Args:
        layers: At least one, bottom to top, all of one size.
        height: Of an upright layer in pixels, before the view's slant adds to it; less where it would be very wide.
        spacing: Distance from plate to plate, as a share of their drawn width; less where there are many.

    Returns:
        (H, W, 3), on white.

    Raises:
        ValueError: There is no layer.
    """
    if not layers:
        raise ValueError("there is no layer to draw")
    height = _within(layers[0].pixels, height)
    plates = [_plate(layer.pixels, height * _FINE) for layer in layers]
    spacing *= min(1, _ROOMY / len(layers))
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
    return np.asarray(fine.resize((fine.width // _FINE, fine.height // _FINE), _REDUCING))


def before_after_figure(
    image: NDArray[np.uint8], index: Tensor | ArrayLike, layers: Sequence[Layer], height: int = 360
) -> NDArray[np.uint8]:
    """Draw an illustration, its layer index and its layers pulled apart, from left to right.

    Args:
        image: (H, W, 3) or (H, W, 4).
        index: (H, W), 0…1.
        layers: At least one, bottom to top.
        height: Of the illustration in the figure, in pixels; less where it would be very wide.

    Returns:
        (H, W, 3), on white, with captions beneath.

    Raises:
        ValueError: There is no layer.
    """
    flat = Image.fromarray(image).convert("RGBA")
    plain = Image.alpha_composite(Image.new("RGBA", flat.size, "white"), flat).convert("RGB")
    height = _within(image, height)
    width = max(1, round(plain.width * height / plain.height))
    pictures = [plain, Image.fromarray(colour_index(index))]
    framed = [_framed(picture.resize((width, height), Image.Resampling.LANCZOS)) for picture in pictures]
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


_WIDEST = 1.8  # width of a picture in a figure over the height asked for
_ROOMY = 8  # layers that stand apart as asked; more stand closer


def _within(pixels: NDArray[np.uint8], height: int) -> int:
    """The height at which a picture (H, W, C) is no wider than figures have room for."""
    return max(1, min(height, round(_WIDEST * height * pixels.shape[0] / pixels.shape[1])))


_FINE = 2  # drawn so many times larger and reduced, which smooths slanting edges
_SQUEEZE, _SLANT = 0.62, 0.22  # width of a plate that is turned away, and how far its right side sinks, of its width
_GLASS, _RIM = (120, 150, 190, 8), (90, 110, 140, 130)


def _plate(pixels: NDArray[np.uint8], height: int) -> Image.Image:
    """Draw a layer on a pane of tinted glass that is turned away to the left."""
    layer = Image.fromarray(pixels)
    layer = layer.resize((max(1, round(layer.width * height / layer.height)), height), _REDUCING)
    pane = Image.new("RGBA", layer.size, _GLASS)
    pane.alpha_composite(layer)
    ImageDraw.Draw(pane).rectangle((0, 0, pane.width - 1, pane.height - 1), outline=_RIM, width=_FINE)
    width, drop = round(pane.width * _SQUEEZE), round(pane.width * _SQUEEZE * _SLANT)
    # Affine from the plate back to the pane: x is stretched, y is moved up by what the slant sank it.
    matrix = (pane.width / width, 0, 0, -drop / width, 1, 0)
    return pane.transform((width, height + drop), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _shadow(plate: Image.Image, corner: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Return a soft shadow of what a plate shows, and where it falls."""
    blur = 4 * _FINE
    alpha = np.pad(np.asarray(plate.getchannel("A")), 3 * blur)
    soft = np.asarray(Image.fromarray(alpha).filter(ImageFilter.GaussianBlur(blur)))
    shadow = np.zeros((*soft.shape, 4), dtype=np.uint8)
    shadow[..., 3] = soft // 4
    return Image.fromarray(shadow), (corner[0] - 4 * blur, corner[1] - 2 * blur)


def _framed(picture: Image.Image) -> Image.Image:
    ImageDraw.Draw(picture).rectangle((0, 0, picture.width - 1, picture.height - 1), outline=(200, 200, 200))
    return picture


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]


def _distinct(label: str, taken: dict[str, list[NDArray[np.uint8] | None]]) -> str:
    """Return the label, or with a number after it where another row has it already."""
    number, free = 1, label
    while free in taken:
        number += 1
        free = f"{label} ({number})"
    return free


def _masked(
    values: Tensor | ArrayLike, mask: Tensor | ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    numbers = float_array(values)
    if numbers.ndim != 2:
        raise ValueError(f"a layer index of shape {numbers.shape} is not (H, W)")
    counted = np.isfinite(numbers)
    if mask is None:
        return numbers, counted
    given = bool_array(mask)
    if given.shape != numbers.shape:
        raise ValueError(f"the mask has shape {given.shape}, the layer index {numbers.shape}")
    return numbers, counted & given


def _pair(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    truth, counted = _masked(true, mask)
    guess, finite = _masked(predicted, None)
    if guess.shape != truth.shape:
        raise ValueError(f"the predicted index has shape {guess.shape}, the true one {truth.shape}")
    return guess, truth, counted & finite
