"""OpenRaster files, read by a reader written from the specification."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from decomposition.layer import Layer
from exporters.open_raster import write_open_raster


def stack(height: int = 60, width: int = 80) -> list[Layer]:
    random = np.random.default_rng(0)
    ground = np.dstack([random.integers(0, 256, (height, width, 3)), np.full((height, width), 255)]).astype(np.uint8)
    patch, soft = np.zeros_like(ground), np.zeros_like(ground)
    patch[10:30, 20:50] = (200, 30, 30, 255)
    soft[25:55, 5:45] = random.integers(0, 256, (30, 40, 4))
    names = ("background", 'Ähre <&> "漢字"', "layer 2")
    return [Layer(name, pixels, 0.0) for name, pixels in zip(names, (ground, patch, soft), strict=True)]


def read_image(archive: zipfile.ZipFile, name: str) -> Image.Image:
    image = Image.open(io.BytesIO(archive.read(name)))
    assert image.format == "PNG"
    return image


def attribute(element: ElementTree.Element, name: str) -> str:
    value = element.get(name)
    assert value is not None, name
    return value


def test_the_file_type_is_at_its_fixed_offset() -> None:
    write_open_raster("a.ora", stack())
    data = Path("a.ora").read_bytes()
    assert data[:4] == b"PK\x03\x04"
    assert data[8:10] == b"\0\0"  # stored
    assert data[30:54] == b"mimetypeimage/openraster"
    with zipfile.ZipFile("a.ora") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "mimetype"
        assert {"stack.xml", "mergedimage.png", "Thumbnails/thumbnail.png"} < set(archive.namelist())


def test_the_stack_lists_the_layers_from_the_top() -> None:
    layers = stack()
    write_open_raster("a.ora", layers)
    with zipfile.ZipFile("a.ora") as archive:
        image = ElementTree.fromstring(archive.read("stack.xml"))
        assert (image.tag, image.get("version"), image.get("w"), image.get("h")) == ("image", "0.0.5", "80", "60")
        elements = image.findall("./stack/layer")
        assert [element.get("name") for element in elements] == [layer.name for layer in reversed(layers)]
        assert [(element.get("x"), element.get("y")) for element in elements] == [("5", "25"), ("20", "10"), ("0", "0")]
        for element, layer in zip(elements, reversed(layers), strict=True):
            assert element.get("composite-op") == "svg:src-over"
            assert (float(attribute(element, "opacity")), element.get("visibility")) == (1, "visible")
            canvas = np.zeros_like(layer.pixels)
            pixels = np.asarray(read_image(archive, attribute(element, "src")))
            x, y = int(attribute(element, "x")), int(attribute(element, "y"))
            canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
            seen = layer.pixels[..., 3] > 0
            assert np.array_equal(canvas[seen], layer.pixels[seen])
            assert not canvas[~seen, 3].any()


def test_the_merged_image_is_the_composition_of_the_stack() -> None:
    write_open_raster("a.ora", stack(300, 520))
    with zipfile.ZipFile("a.ora") as archive:
        canvas = Image.new("RGBA", (520, 300))
        for element in reversed(ElementTree.fromstring(archive.read("stack.xml")).findall("./stack/layer")):
            place = (int(attribute(element, "x")), int(attribute(element, "y")))
            canvas.alpha_composite(read_image(archive, attribute(element, "src")).convert("RGBA"), place)
        merged = read_image(archive, "mergedimage.png")
        assert merged.size == (520, 300)
        assert np.abs(np.asarray(merged).astype(int) - np.asarray(canvas)).max() <= 1
        assert read_image(archive, "Thumbnails/thumbnail.png").size == (256, 148)


def test_empty_layers_and_special_names_are_written() -> None:
    empty = np.zeros((3, 4, 4), np.uint8)
    write_open_raster("a.ora", [Layer("nothing\x00", empty, 0.0)])
    with zipfile.ZipFile("a.ora") as archive:
        element = ElementTree.fromstring(archive.read("stack.xml")).find("./stack/layer")
        assert element is not None
        assert element.get("name") == "nothing\ufffd"
        assert read_image(archive, attribute(element, "src")).size == (1, 1)
    with pytest.raises(ValueError, match="at least one layer"):
        write_open_raster("refused.ora", [])
    assert not Path("refused.ora").exists()


def test_the_same_layers_give_the_same_bytes() -> None:
    write_open_raster("a.ora", stack())
    write_open_raster("b.ora", stack())
    assert Path("a.ora").read_bytes() == Path("b.ora").read_bytes()
