"""PSD files, read by psd-tools, by Pillow and, for their head, byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PsdImagePlugin import PsdImageFile
from psd_tools import PSDImage

from decomposition.compositing import compose
from decomposition.layer import Layer
from exporters.photoshop import write_psd
from formats.errors import InputError


def stack(ground_alpha: int = 255) -> list[Layer]:
    random = np.random.default_rng(0)
    ground = random.integers(0, 256, (60, 80, 4), dtype=np.uint8)
    ground[..., 3] = ground_alpha
    patch, soft = np.zeros_like(ground), np.zeros_like(ground)
    patch[10:30, 20:50] = (200, 30, 30, 255)
    soft[25:55, 5:45] = random.integers(1, 256, (30, 40, 4))
    names = ("background", "Ähre 漢字 😀", "layer 2")
    return [Layer(name, pixels, 0.0) for name, pixels in zip(names, (ground, patch, soft), strict=True)]


def test_psd_tools_reads_the_layers_back() -> None:
    layers = stack()
    write_psd("a.psd", layers)
    document = PSDImage.open("a.psd")
    assert document.size == (80, 60)
    assert [layer.name for layer in document] == [layer.name for layer in layers]  # both bottom to top
    assert [layer.bbox for layer in document] == [(0, 0, 80, 60), (20, 10, 50, 30), (5, 25, 45, 55)]
    for read, written in zip(document, layers, strict=True):
        assert np.array_equal(np.asarray(read.topil()), written.pixels[read.top : read.bottom, read.left : read.right])
        assert read.visible
        assert read.opacity == 255
        assert not read.has_mask()


def test_pillow_finds_the_layers_and_reads_the_merged_image() -> None:
    layers = stack()
    write_psd("a.psd", layers)
    with Image.open("a.psd") as image:
        assert isinstance(image, PsdImageFile)
        assert image.size == (80, 60)
        assert [layer[2] for layer in image.layers] == [(0, 0, 80, 60), (20, 10, 50, 30), (5, 25, 45, 55)]
        assert image.layers[0][0] == "background"
        assert np.array_equal(np.asarray(image), compose(layers))


def test_a_translucent_merged_image_is_on_white() -> None:
    layers = stack(ground_alpha=0)
    write_psd("a.psd", layers)
    merged = compose(layers).astype(float)
    with Image.open("a.psd") as image:
        read = np.asarray(image).astype(float)
    assert np.array_equal(read[..., 3], merged[..., 3])
    share = merged[..., 3:] / 255
    assert np.abs(read[..., :3] - (merged[..., :3] * share + 255 * (1 - share))).max() <= 0.51
    # psd-tools takes the white off again
    firm = merged[..., 3] > 127
    unmixed = np.asarray(PSDImage.open("a.psd").topil()).astype(float)
    assert np.abs(unmixed - merged)[firm].max() <= 3


def test_the_fourth_channel_is_marked_as_transparency() -> None:
    write_psd("a.psd", stack())
    data = Path("a.psd").read_bytes()
    signature, version, channels, height, width, depth, mode = struct.unpack(">4sH6xHIIHH", data[:26])
    assert (signature, version, channels, height, width, depth, mode) == (b"8BPS", 1, 4, 60, 80, 8, 3)
    place = 26
    for _ in range(2):  # colour mode data, image resources
        place += 4 + struct.unpack(">I", data[place : place + 4])[0]
    assert struct.unpack(">h", data[place + 8 : place + 10])[0] == -3


def test_empty_layers_and_long_names_are_written() -> None:
    write_psd("a.psd", [Layer("n" * 300, np.zeros((3, 4, 4), np.uint8), 0.0)])
    document = PSDImage.open("a.psd")
    assert document.size == (4, 3)
    assert document[0].name == "n" * 255


def test_canvases_beyond_the_format_are_refused() -> None:
    with pytest.raises(InputError, match="30000 pixels per side"):
        write_psd("refused.psd", [Layer("wide", np.zeros((1, 30_001, 4), np.uint8), 0.0)])
    with pytest.raises(ValueError, match="at least one layer"):
        write_psd("refused.psd", [])
    assert not Path("refused.psd").exists()
