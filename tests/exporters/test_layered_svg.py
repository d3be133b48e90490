from __future__ import annotations

import io
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import pytest
import resvg_py
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from decomposition.layer import Layer
from exporters.layered_svg import INKSCAPE, SVG, write_layered_svg

WIDTH, HEIGHT = 160, 120


def _drawn(shape: str, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """An antialiased shape whose colour is black where it is clear, as a careless program leaves it."""
    mask = Image.new("L", (WIDTH * 8, HEIGHT * 8))
    getattr(ImageDraw.Draw(mask), shape)([8 * side for side in box], fill=255)
    alpha = np.asarray(mask.resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    pixels = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[alpha > 0, :3] = colour
    pixels[..., 3] = alpha
    return pixels


@pytest.fixture
def layers() -> list[Layer]:
    sky = np.full((HEIGHT, WIDTH, 4), (120, 190, 240, 255), dtype=np.uint8)
    sky[80:] = (60, 150, 70, 255)
    sun = _drawn("ellipse", (90, 10, 140, 60), (250, 210, 40))
    house = _drawn("rectangle", (30, 40, 99, 109), (180, 60, 50))
    house[60:80, 50:70, :3] = (90, 90, 160)
    return [Layer("sky & meadow", sky, 0), Layer('"sun" <1>', sun, 0.5), Layer("house é", house, 1)]


def _rendered(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text)))).convert("RGBA"))


def _composite(layers: list[Layer]) -> NDArray[np.uint8]:
    canvas = Image.new("RGBA", layers[0].pixels.shape[1::-1], "white")
    for layer in layers:
        canvas.alpha_composite(Image.fromarray(layer.pixels))
    return np.asarray(canvas.convert("RGB"))


def _on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _composite([Layer("", pixels, 0)])


def _error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def _groups(path: Path) -> list[ElementTree.Element]:
    return [child for child in ElementTree.parse(path).getroot() if child.tag == f"{{{SVG}}}g"]


@pytest.mark.parametrize("mode", ["spline", "polygon"])
def test_the_drawing_looks_like_the_layers_composed(layers: list[Layer], mode: Literal["spline", "polygon"]) -> None:
    write_layered_svg("art.svg", layers, mode=mode)
    rendered = _rendered(Path("art.svg").read_text(encoding="utf-8"))
    assert rendered.shape == (HEIGHT, WIDTH, 4)
    assert (rendered[..., 3] == 255).all()  # no hairline that lets the page through
    assert _error(rendered[..., :3], _composite(layers)) < 1


def test_each_group_looks_like_its_layer(layers: list[Layer]) -> None:
    write_layered_svg("art.svg", layers)
    for number, layer in enumerate(layers):
        tree = ElementTree.parse("art.svg")
        for place, group in enumerate(tree.getroot()):
            if place != number:
                group.set("display", "none")
        alone = _rendered(ElementTree.tostring(tree.getroot(), encoding="unicode"))
        assert _error(_on_white(alone), _on_white(layer.pixels)) < 1
        assert np.abs(alone[..., 3].astype(int) - layer.pixels[..., 3]).max() < 160  # edges within a pixel


def test_groups_are_named_and_ordered_bottom_to_top(layers: list[Layer]) -> None:
    write_layered_svg("deep/art.svg", layers)
    groups = _groups(Path("deep/art.svg"))
    assert [group.get(f"{{{INKSCAPE}}}label") for group in groups] == [layer.name for layer in layers]
    assert [group.findtext(f"{{{SVG}}}title") for group in groups] == [layer.name for layer in layers]
    assert {group.get(f"{{{INKSCAPE}}}groupmode") for group in groups} == {"layer"}
    assert len({group.get("id") for group in groups}) == len(layers)
    assert [path.name for path in Path("deep").iterdir()] == ["art.svg"]


def test_edges_have_no_colour_from_outside() -> None:
    disc = _drawn("ellipse", (30, 20, 120, 100), (250, 210, 40))
    edge = (disc[..., 3] > 0) & (disc[..., 3] < 255)
    assert edge.any()
    disc[edge, :3] = (0, 0, 0)  # a dark fringe
    write_layered_svg("art.svg", [Layer("disc", disc, 0)])
    fills = {path.get("fill") for path in _groups(Path("art.svg"))[0].iter(f"{{{SVG}}}path")}
    assert fills == {"#FAD228"}


def test_touching_layers_show_no_line_between_them() -> None:
    below = np.full((64, 64, 4), (40, 40, 200, 255), dtype=np.uint8)
    above = np.zeros_like(below)
    above[np.tril_indices(64)] = (40, 40, 200, 255)  # the same colour: any other one would be a seam
    write_layered_svg("art.svg", [Layer("below", below, 0), Layer("above", above, 1)])
    rendered = _rendered(Path("art.svg").read_text())
    assert np.abs(rendered.astype(int) - below).max() <= 1


def test_a_small_hole_stays_a_hole() -> None:
    pixels = np.full((80, 90, 4), (200, 30, 30, 255), dtype=np.uint8)
    pixels[30:40, 41:52] = 0
    write_layered_svg("art.svg", [Layer("sheet", pixels, 0)])
    alpha = _rendered(Path("art.svg").read_text())[..., 3]
    assert _error(alpha, pixels[..., 3]) < 1
    assert (alpha[32:38, 43:50] == 0).all()


def test_a_gradient_becomes_bands() -> None:
    pixels = np.full((32, 512, 4), 255, dtype=np.uint8)
    pixels[..., :3] = np.linspace(0, 255, 512).astype(np.uint8)[None, :, None]  # steps of 1
    for colours, worst in ((32, 6), (None, 256)):
        write_layered_svg("art.svg", [Layer("gradient", pixels, 0)], colours=colours)
        error = _error(_rendered(Path("art.svg").read_text())[..., :3], pixels[..., :3])
        assert error < worst
    assert error > 20  # what reducing the colours is for


def test_empty_layers_and_layers_of_one_pixel() -> None:
    nothing = np.zeros((20, 30, 4), dtype=np.uint8)
    pixel = nothing.copy()
    pixel[7, 11] = (10, 200, 30, 255)
    write_layered_svg("art.svg", [Layer("nothing", nothing, 0), Layer("pixel", pixel, 1)])
    empty, single = _groups(Path("art.svg"))
    assert not list(empty.iter(f"{{{SVG}}}path"))
    assert list(single.iter(f"{{{SVG}}}path"))
    np.testing.assert_array_equal(_rendered(Path("art.svg").read_text()), pixel)


def test_a_canvas_of_one_colour_is_covered_to_its_corners() -> None:
    pixels = np.full((33, 47, 4), (12, 34, 56, 255), dtype=np.uint8)
    write_layered_svg("art.svg", [Layer("plain", pixels, 0)])
    np.testing.assert_array_equal(_rendered(Path("art.svg").read_text()), pixels)


def test_a_translucent_layer_becomes_a_translucent_group() -> None:
    pixels = np.zeros((40, 40, 4), dtype=np.uint8)
    pixels[10:30, 10:30] = (0, 0, 255, 100)
    write_layered_svg("art.svg", [Layer("glass", pixels, 0)])
    assert np.abs(_rendered(Path("art.svg").read_text())[20, 20].astype(int) - (0, 0, 255, 100)).max() <= 2


def test_characters_that_xml_forbids_are_replaced() -> None:
    write_layered_svg("art.svg", [Layer("a\x00b", np.zeros((4, 4, 4), dtype=np.uint8), 0)])
    assert _groups(Path("art.svg"))[0].get(f"{{{INKSCAPE}}}label") == "a\ufffdb"


def test_no_layers_and_layers_of_different_sizes_are_refused() -> None:
    small, large = (Layer("", np.zeros((side, 4, 4), dtype=np.uint8), 0) for side in (3, 4))
    for wrong in ([], [small, large]):
        with pytest.raises(ValueError, match="one size"):
            write_layered_svg("art.svg", wrong)
    assert not Path("art.svg").exists()
