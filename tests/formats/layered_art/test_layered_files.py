"""Layers of PSD and OpenRaster files, read as their programs show them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from psd_tools import PSDImage

from decomposition.compositing import compose
from decomposition.layer import Layer
from exporters.open_raster import write_open_raster
from exporters.photoshop import write_psd
from formats.errors import InputError
from formats.layered_art.open_raster import read_open_raster
from formats.layered_art.photoshop import read_psd
from formats.layered_art.stack import LayerStack

SIZE = 20, 30
READERS = {".psd": read_psd, ".ora": read_open_raster}
WRITERS = {".psd": write_psd, ".ora": write_open_raster}


def block(colour: Sequence[int], rows: slice, columns: slice) -> NDArray[np.uint8]:
    """Return a canvas (20, 30, 4) with one rectangle."""
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[rows, columns] = colour
    return pixels


BACKGROUND = block((10, 20, 30, 255), slice(0, 20), slice(0, 30))
RED = block((255, 0, 0, 255), slice(2, 12), slice(3, 15))
BLUE = block((0, 0, 255, 128), slice(6, 18), slice(10, 28))


def on_canvas(stack: LayerStack) -> list[Layer]:
    """Return the base and the layers, each on the whole canvas."""
    layers = [Layer("base", stack.base, 0.0)]
    for layer in stack.layers:
        pixels = np.zeros_like(stack.base)
        x0, y0, x1, y1 = layer.box
        pixels[y0:y1, x0:x1] = layer.pixels
        layers.append(Layer(layer.caption, pixels, 0.0))
    return layers


def image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", list(READERS))
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, [Layer("ground", BACKGROUND, 0.0), Layer("rot", RED, 0.5), Layer("blau", BLUE, 1.0)])
    stack = READERS[suffix](path)
    assert stack.base_caption == "ground"
    assert [(layer.caption, layer.box) for layer in stack.layers] == [
        ("rot", (3, 2, 15, 12)),
        ("blau", (10, 6, 28, 18)),
    ]
    assert np.array_equal(stack.base, BACKGROUND)
    _, red, blue = on_canvas(stack)
    assert np.array_equal(red.pixels, RED)
    assert np.array_equal(blue.pixels, BLUE)
    assert np.abs(stack.whole.astype(int) - compose(on_canvas(stack)).astype(int)).max() <= 1


@pytest.mark.parametrize("suffix", list(READERS))
def test_a_file_without_background_is_on_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, [Layer("red", RED, 0.0), Layer("blue", BLUE, 1.0)])
    stack = READERS[suffix](path)
    assert (stack.base == 255).all()
    assert len(stack.layers) == 2


def psd_with_groups(path: Path) -> None:
    """A hidden layer, a group of half opacity with a masked layer, a clipped layer, and one beyond the canvas."""
    document = PSDImage.new("RGBA", (30, 20))  # in RGB, alpha would be a mask
    document.create_pixel_layer(image(BACKGROUND), name="ground")
    hidden = document.create_pixel_layer(image(RED), name="hidden")
    hidden.visible = False
    group = document.create_group(name="group")
    group.opacity = 128
    masked = document.create_pixel_layer(image(RED), name="masked")
    masked.move_to_group(group)
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :8] = 255
    masked.create_mask(image(mask))
    document.create_pixel_layer(image(RED[2:12, 3:15]), name="carrier", top=2, left=3)
    clipped = document.create_pixel_layer(image(BLUE | np.uint8(255)), name="clipped")
    clipped.clipping = True
    document.create_pixel_layer(image(np.full((10, 10, 4), 255, np.uint8)), name="beyond", top=15, left=-5)
    document.save(path)


def test_groups_masks_and_clipping_of_psd(tmp_path: Path) -> None:
    psd_with_groups(tmp_path / "a.psd")
    stack = read_psd(tmp_path / "a.psd")
    _, masked, carrier, clipped, beyond = on_canvas(stack)
    assert [layer.caption for layer in stack.layers] == ["masked", "carrier", "clipped", "beyond"]
    expected = RED[..., 3] // 255 * 128
    expected[:, 8:] = 0
    assert np.array_equal(masked.pixels[..., 3], expected)
    assert np.array_equal(clipped.pixels[..., 3], RED[..., 3])
    assert np.array_equal(carrier.pixels, RED)
    assert stack.layers[-1].box == (0, 15, 5, 20)
    assert (beyond.pixels[15:, :5] == 255).all()


def ora(path: Path, layers: str, *images: tuple[str, NDArray[np.uint8]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", f'<image w="30" h="20"><stack>{layers}</stack></image>')
        for name, pixels in (("mergedimage.png", BACKGROUND), *images):
            buffer = io.BytesIO()
            image(pixels).save(buffer, format="PNG")
            archive.writestr(name, buffer.getvalue())
    return path


def test_groups_of_open_raster(tmp_path: Path) -> None:
    text = (
        '<layer name="top" src="r.png" x="-3" y="4"/><stack x="2" opacity="0.5"><layer name="b" src="r.png" x="1" '
        'opacity="0.5"/><layer name="no" src="r.png" visibility="hidden"/></stack><layer name="low" src="g.png"/>'
    )
    stack = read_open_raster(ora(tmp_path / "a.ora", text, ("r.png", RED[2:12, 3:15]), ("g.png", BACKGROUND)))
    assert stack.base_caption == "low"
    assert [(layer.caption, layer.box) for layer in stack.layers] == [("b", (3, 0, 15, 10)), ("top", (0, 4, 9, 14))]
    assert (stack.layers[0].pixels[..., 3] == 64).all()
    assert (stack.layers[1].pixels[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("layers", "images", "fault"),
    [
        ('<layer src="no.png"/>', (), "has no no.png"),
        ("<layer", (), "not XML"),
        ('<!DOCTYPE a><layer src="r.png"/>', (), "declares entities"),
        ('<layer src="r.png" x="left"/>', (("r.png", RED),), "cannot be read as OpenRaster"),
    ],
)
def test_faulty_open_raster_files_are_named(tmp_path: Path, layers: str, images: Any, fault: str) -> None:
    with pytest.raises(InputError, match=rf"a\.ora.*{fault}"):
        read_open_raster(ora(tmp_path / "a.ora", layers, *images))


@pytest.mark.parametrize("suffix", list(READERS))
def test_other_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=rf"a\{suffix}: cannot be read as"):
        READERS[suffix](path)
    with pytest.raises(InputError, match="no such file"):
        READERS[suffix](tmp_path / f"b{suffix}")
