"""A stack of raster layers, and the folder of the parsed_dataset layout that stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from formats.atomic import write_json
from formats.images import write_png
from formats.layered_art.base import OPAQUE

WHOLE_IMAGE, BASE_IMAGE, METADATA = "00_whole_image.png", "01_base_image.png", "metadata.json"
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class StackLayer:
    """A layer of an image file.

    Attributes:
        caption: Name or description.
        pixels: (h, w, 4) uint8, RGBA, not premultiplied.
        box: x0, y0, x1, y1 on the canvas in pixels, of w × h pixels.
    """

    caption: str
    pixels: NDArray[np.uint8]
    box: Box


@dataclass(frozen=True)
class LayerStack:
    """An image and the layers that it consists of.

    Attributes:
        whole: (H, W, 4) uint8, RGBA: all layers together.
        base: (H, W, 4) uint8, RGBA: what is below all layers; white if the file has no background.
        layers: Layers from below, each within the canvas.
        caption: Description of the whole image.
        base_caption: Description of the base.
    """

    whole: NDArray[np.uint8]
    base: NDArray[np.uint8]
    layers: Sequence[StackLayer]
    caption: str = ""
    base_caption: str = ""


def placed_layer(caption: str, pixels: NDArray[np.uint8], left: int, top: int, size: tuple[int, int]) -> StackLayer:
    """Place a layer on a canvas, cropped to it; its box is empty where it is off the canvas.

    Args:
        caption: Name of the layer.
        pixels: (h, w, 4), RGBA.
        left: Column of the canvas for the layer's first column.
        top: Row of the canvas for the layer's first row.
        size: Height and width of the canvas.
    """
    height, width = pixels.shape[:2]
    x0, x1 = (min(max(side, 0), size[1]) for side in (left, left + width))
    y0, y1 = (min(max(side, 0), size[0]) for side in (top, top + height))
    return StackLayer(caption, pixels[y0 - top : y1 - top, x0 - left : x1 - left], (x0, y0, x1, y1))


def stack_of_layers(layers: Sequence[StackLayer], size: tuple[int, int], whole: NDArray[np.uint8]) -> LayerStack:
    """Assemble a stack: layers that paint nothing are left out, and a bottom layer without holes becomes the base."""
    painted = [layer for layer in layers if (layer.pixels[..., 3] >= OPAQUE).any()]
    if painted and painted[0].box == (0, 0, size[1], size[0]) and (painted[0].pixels[..., 3] >= OPAQUE).all():
        base, *above = painted
        return LayerStack(whole, base.pixels, above, base_caption=base.caption)
    return LayerStack(whole, np.full((*size, 4), 255, np.uint8), painted)


def write_parsed_sample(folder: Path, name: str, category: str, stack: LayerStack) -> None:
    """Write ``metadata.json`` and the images of a sample; the metadata comes last, so that it marks whole samples."""
    entries = []
    for number, layer in enumerate(stack.layers):
        file = f"{number + 2:02d}_layer_{number:02d}.png"
        write_png(folder / file, layer.pixels)
        x0, y0, x1, y1 = layer.box
        entry = {"layer_index": number, "caption": layer.caption, "box": list(layer.box)}
        entries.append({**entry, "width_dst": x1 - x0, "height_dst": y1 - y0, "image_path": file})
    write_png(folder / BASE_IMAGE, stack.base)
    write_png(folder / WHOLE_IMAGE, stack.whole)
    captions = {"whole_caption": stack.caption, "base_caption": stack.base_caption}
    counts = {"layer_count": len(stack.layers), "layers": entries}
    write_json(folder / METADATA, {"id": name, "style_category": category, **captions, **counts})
