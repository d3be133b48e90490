"""Paint orders of SVG drawings, compared with those of single elements."""

from __future__ import annotations

import base64
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formats.svg.paint_order import DrawnSvg, draw_svg
from formats.svg.tree import SvgRefusedError
from tests.support.svg_reference import check_paint_order

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SIZE = 96

GRADIENTS = """<defs>
<linearGradient id="stops"><stop stop-color="red"/><stop offset="1" style="stop-color:blue;stop-opacity:0"/>
</linearGradient>
<linearGradient id="turned" xlink:href="#stops" gradientTransform="rotate(30)"/>
<radialGradient id="round" xlink:href="#stops"/><linearGradient id="empty"/>
<linearGradient id="opaque"><stop stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient></defs>"""
PNG = io.BytesIO()
Image.fromarray(np.stack([np.tri(16, dtype=np.uint8) * 255] * 4, axis=2)).save(PNG, "PNG")
PICTURE = base64.b64encode(PNG.getvalue()).decode()

# name: (body of a 48 × 48 drawing, numbers of the elements that are topmost somewhere)
DRAWINGS: dict[str, tuple[str, set[int]]] = {
    "shapes": (
        """<rect x="4" y="4" width="20" height="20" rx="4"/><circle cx="24" cy="24" r="10" fill="red"/>
        <ellipse cx="36" cy="12" rx="9" ry="5" fill="lime"/><line x1="2" y1="46" x2="46" y2="30" stroke="blue"
        stroke-width="4"/><polyline points="4 30 12 44 20 30" fill="none" stroke="black" stroke-width="3"/>
        <polygon points="30 30 46 30 38 46" fill="yellow"/><path d="M40 2h6v8h-6z" fill="navy"/>""",
        {1, 2, 3, 4, 5, 6, 7},
    ),
    "groups and transforms": (
        """<g transform="translate(10 10) rotate(20)" fill="red"><rect width="20" height="20"/>
        <g transform="scale(.5) skewX(10)"><rect x="20" width="40" height="30" fill="blue"/></g></g>
        <rect transform="matrix(1 0 .2 1 4 30)" width="14" height="10"/>""",
        {1, 2, 3},
    ),
    "style sheets": (
        """<style>rect { fill: red } .none, #gone { fill: none } g > .seen { fill: blue !important }
        rect:first-child + rect { fill: none } @media print { rect { fill: none } } [data-x="1"] { display: none }
        g circle { stroke: black; stroke-width: 4 }</style>
        <g><rect width="30" height="30"/><rect x="20" y="20" width="9" height="9"/>
        <rect class="none" width="9" height="9"/>
        <rect id="gone" width="9" height="9"/>
        <rect class="seen" style="fill:none" x="30" y="30" width="14" height="14"/>
        <rect data-x="1" width="40" height="9"/><circle cx="36" cy="12" r="7" fill="none"/></g>
        <rect class="none" style="fill:lime!important" y="34" width="12" height="12"/>""",
        {1, 5, 7, 8},
    ),
    "hidden": (
        """<rect width="48" height="48" fill="white"/><rect width="20" height="20" display="none"/>
        <g visibility="hidden"><rect width="20" height="20"/>
        <rect visibility="visible" x="24" width="20" height="20"/></g>
        <g style="display:none"><rect width="40" height="40" style="display:inline"/></g><rect width="40" height="40"
        opacity="0"/><g opacity=".1"><g opacity=".1"><rect width="40" height="40"/></g></g><rect width="0" height="9"/>
        <rect width="30" height="30" fill="none"/><rect y="30" width="10" height="10"/>
        <rect y="30" width="10" height="10" fill="red"/><rect x="500" width="9" height="9"/>
        <rect x="9" y="9" width="9" height="9" fill="transparent" stroke="unheard-of" stroke-width="3"/>""",
        {1, 4, 11},
    ),
    "paints": (
        """<g fill="inherit" color="red" stroke="none"><rect width="12" height="12" fill="currentColor"/>
        <rect x="14" width="12" height="12" fill="url(#missing) red"/>
        <rect x="28" width="12" height="12" fill="url(#missing)"/>
        <rect y="14" width="12" height="12" fill="rgba(9, 9, 9, .01)"/><rect y="14" x="14" width="12" height="12"
        fill="rgba(9, 9, 9, .3)"/><rect y="14" x="28" width="12" height="12" fill="#ff000003"/></g>
        <g fill="none"><rect y="28" width="12" height="12"/><rect y="28" x="16" width="12" height="12" stroke="red"
        stroke-width="4"/>
        <rect y="32" x="34" width="8" height="8" style="fill:inherit;stroke:red;stroke-opacity:0"/></g>""",
        {1, 2, 5, 8},
    ),
    "gradients": (
        GRADIENTS
        + """<rect width="48" height="20" fill="url(#stops)"/><rect y="22" width="24" height="24" fill="url(#round)"/>
        <rect x="4" y="4" width="8" height="8" fill="url(#opaque)"/><rect x="26" y="22" width="20" height="20"
        fill="url(#turned)" opacity=".5"/><rect width="9" height="9" fill="url(#empty)"/>
        <path d="M2 46 L46 44" stroke="url(#opaque)" stroke-width="3"/><path d="M2 20 H46" stroke="url(#opaque)"/>""",
        {1, 2, 3, 4, 6},
    ),
    "patterns": (
        """<pattern id="p" width="8" height="8" patternUnits="userSpaceOnUse">
        <rect width="4" height="8" fill="red"/></pattern>
        <rect width="48" height="24"/><rect x="4" y="4" width="40" height="40" fill="url(#p)"/>""",
        {1, 2},
    ),
    "clip paths": (
        """<clipPath id="c"><circle cx="24" cy="24" r="14"/></clipPath><clipPath id="d" clip-path="url(#c)">
        <path clip-rule="evenodd" d="M0 0h48v48h-48zM20 20v8h8v-8z"/></clipPath>
        <rect width="48" height="48" fill="#fed"/>
        <g clip-path="url(#d)"><rect width="48" height="30"/><rect x="20" width="20" height="48" fill="red"/></g>
        <rect width="9" height="9" clip-path="url(#c)"/>""",
        {1, 2, 3},
    ),
    "masks": (
        """<linearGradient id="g"><stop stop-color="white"/><stop offset="1" stop-color="black"/></linearGradient>
        <mask id="m"><rect width="48" height="48" fill="url(#g)"/></mask><mask id="n" mask-type="alpha"><circle cx="12"
        cy="36" r="8"/></mask><rect width="48" height="40" fill="#ddd"/><g mask="url(#m)"><rect width="48" height="20"/>
        <circle cx="30" cy="12" r="8" fill="red"/></g><rect y="24" width="30" height="24" mask="url(#n)"/>""",
        {1, 2, 3, 4},
    ),
    "filters": (
        """<filter id="f" x="-50%" y="-50%" width="200%" height="200%"><feGaussianBlur stdDeviation="3"/></filter>
        <filter id="o" x="-1" y="-1" width="3" height="3"><feOffset dx="16"/></filter>
        <rect x="12" y="12" width="20" height="20" filter="url(#f)"/><g filter="url(#o)"><rect x="2" y="36" width="9"
        height="9" fill="red"/><rect x="6" y="38" width="9" height="9" fill="lime"/></g>
        <rect x="30" y="30" width="9" height="4"/>""",
        {1, 2, 3, 4},
    ),
    "blend modes": (
        """<rect width="30" height="30" fill="yellow"/><g style="isolation:isolate">
        <rect x="20" y="20" width="24" height="24"
        fill="aqua" style="mix-blend-mode:multiply"/></g>""",
        {1, 2},
    ),
    "use": (
        """<defs><g id="a"><rect width="12" height="12"/><circle cx="12" cy="12" r="5" fill="red"/></g>
        <g id="b"><use xlink:href="#a" x="4" y="4"/></g><symbol id="s" viewBox="0 0 10 10"><circle cx="8" cy="8" r="8"/>
        </symbol><rect id="n" width="9" height="9" fill="none"/></defs><rect id="r" x="30" width="12" height="12"/>
        <use xlink:href="#a" fill="blue"/><use href="#b" transform="translate(14 14) scale(1.2)"/><use xlink:href="#s"
        y="30" width="14" height="14" fill="lime"/><use xlink:href="#r" y="32" style="fill:orange"/>
        <use xlink:href="#n" fill="red"/><use xlink:href="#absent"/><g id="loop"><use xlink:href="#loop"/></g>""",
        {1, 2, 3, 4, 5},
    ),
    "markers": (
        """<marker id="m" markerWidth="3" markerHeight="3" refX="1" refY="1" viewBox="0 0 2 2">
        <circle cx="1" cy="1" r="1"
        fill="red"/></marker><rect width="48" height="20" fill="#eee"/><path d="M6 10H24V40" fill="none" stroke="black"
        stroke-width="3" style="marker:url(#m)"/><g marker-end="url(#m)"><line x1="34" y1="30" x2="44" y2="44"
        stroke="blue" stroke-width="2"/><rect x="30" y="4" width="8" height="8"/></g>""",
        {1, 2, 3, 4},
    ),
    "images": (
        f"""<rect width="48" height="24"/><image x="8" y="8" width="32" height="32" xlink:href="data:image/png;base64,
        {PICTURE}"/><image x="2" y="38" width="8" height="8" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'
        width='4' height='4'%3E%3Ccircle cx='2' cy='2' r='2'/%3E%3C/svg%3E"/>""",
        {1, 2, 3},
    ),
    "nested svg": (
        """<svg x="4" y="4" width="20" height="20" viewBox="0 0 10 5" preserveAspectRatio="xMinYMin slice">
        <rect width="100%" height="100%" fill="red"/><circle cx="5" cy="5" r="3"/></svg>
        <svg x="24" y="24" width="20" height="20" overflow="visible">
        <rect x="-9" y="5" width="20" height="9"/></svg>""",
        {1, 2, 3},
    ),
    "switch and a": (
        """<switch><foreignObject requiredExtensions="http://ns.adobe.com/x/"/>
        <rect systemLanguage="zz" width="9" height="9"/>
        <g><rect width="30" height="30"/><circle cx="20" cy="20" r="9" fill="red"/></g>
        <rect width="48" height="48"/></switch>
        <a xlink:href="https://example.org/"><rect x="30" y="30" width="12" height="12"/></a>""",
        {2, 3, 5},
    ),
    "the same colour": (
        """<g fill="black"><rect width="30" height="30"/><rect x="10" y="10" width="30" height="30"/></g>""",
        {1, 2},
    ),
}


def svg(body: str, attributes: str = 'width="48" height="48" viewBox="0 0 48 48"') -> str:
    return f"<svg {NAMESPACES} {attributes}>{body}</svg>"


def drawn(
    tmp_path: Path, body: str, attributes: str = 'width="48" height="48" viewBox="0 0 48 48"', size: int = SIZE
) -> DrawnSvg:
    path = tmp_path / "drawing.svg"
    path.write_text(svg(body, attributes), encoding="utf-8")
    return draw_svg(path, size)


@pytest.mark.parametrize("name", DRAWINGS)
def test_orders_are_those_of_elements_drawn_one_by_one(tmp_path: Path, name: str) -> None:
    body, topmost = DRAWINGS[name]
    numbers = drawn(tmp_path, body).numbers
    assert set(np.unique(numbers)) - {0} == topmost
    agreement = check_paint_order(tmp_path / "drawing.svg", SIZE)
    assert agreement.single >= 0.99
    if name not in ("the same colour", "gradients", "hidden", "masks", "filters", "shapes", "paints"):
        # … and with the cumulative reference, if all colours are distinct and none is nearly transparent
        assert agreement.cumulative >= 0.99


def test_orders_count_visible_elements_without_gaps(tmp_path: Path) -> None:
    result = drawn(tmp_path, DRAWINGS["hidden"][0])
    pairs = zip(result.numbers.ravel().tolist(), result.orders.ravel().tolist(), strict=True)
    assert set(pairs) == {(1, 1), (4, 2), (11, 3)}
    assert result.orders.dtype == np.uint16


def test_an_element_covers_exactly_the_pixels_whose_centres_it_holds(tmp_path: Path) -> None:
    orders = drawn(tmp_path, '<rect x="8" y="16" width="24" height="8"/>').orders
    expected = np.zeros((96, 96), np.uint16)
    expected[32:48, 16:64] = 1
    assert np.array_equal(orders, expected)


def test_many_elements_are_distinguished(tmp_path: Path) -> None:
    body = "".join(f'<rect x="{i % 24 * 2}" y="{i // 24 * 2}" width="2" height="2"/>' for i in range(24 * 24))
    orders = drawn(tmp_path, body).orders
    assert np.array_equal(orders, np.arange(1, 577).reshape(24, 24).repeat(4, 0).repeat(4, 1))


def test_a_stroke_thinner_than_a_pixel_is_one_unbroken_line(tmp_path: Path) -> None:
    orders = drawn(tmp_path, '<path d="M0 5L48 40" stroke="black" stroke-width=".01"/>').orders
    assert orders.any(axis=0).all()
    assert orders.sum() < 2.2 * 96


def test_the_image_keeps_its_colours_on_white(tmp_path: Path) -> None:
    image = drawn(tmp_path, '<rect width="24" height="48" fill="red" opacity=".5"/>').image
    assert image[50, 20].tolist() == pytest.approx([255, 128, 128], abs=1)
    assert image[50, 80].tolist() == [255, 255, 255]


def test_text_is_one_element(tmp_path: Path) -> None:
    body = """<rect width="48" height="48" fill="white"/><text x="2" y="40" font-size="44" style="font-weight:bold"
    >W<tspan fill="red">i<tspan stroke="blue">l</tspan></tspan></text>"""
    numbers = drawn(tmp_path, body).numbers
    assert set(np.unique(numbers)) <= {1, 2}  # 1 alone where no font is installed
    assert check_paint_order(tmp_path / "drawing.svg", SIZE).single >= 0.99


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ('width="20" height="10"', (48, 96)),
        ('viewBox="0 0 10 20"', (96, 48)),
        ('width="1in" height="1.27cm"', (48, 96)),
        ('width="100%" height="50%" viewBox="0 0 10 10"', (48, 96)),
        ('width="30" viewBox="0 0 20 10"', (48, 96)),
        ('width="20" height="10" viewBox="0 0 0 0"', (48, 96)),
    ],
)
def test_the_canvas_has_the_proportions_of_the_drawing(tmp_path: Path, attributes: str, shape: tuple[int, int]) -> None:
    assert drawn(tmp_path, '<rect width="5" height="5"/>', attributes).image.shape == (*shape, 3)


@pytest.mark.parametrize("attributes", ["", 'width="100%" height="100%"'])
@pytest.mark.parametrize("x", [-1500, -3, 0.5, 7000])
def test_without_any_size_the_canvas_is_the_bounding_box(tmp_path: Path, attributes: str, x: float) -> None:
    orders = drawn(tmp_path, f'<rect x="{x}" y="20" width="60" height="30"/>', attributes).orders
    assert abs(orders.shape[0] - 48) <= 1
    assert (orders[2:-2, 2:-2] == 1).all()


def test_the_renderer_settings_of_the_file_do_not_blur_orders(tmp_path: Path) -> None:
    body = '<g style="shape-rendering:geometricPrecision"><circle cx="24" cy="24" r="20" shape-rendering="auto"/></g>'
    assert set(np.unique(drawn(tmp_path, body).numbers)) == {0, 1}


def test_compressed_files_and_files_without_a_namespace_are_read(tmp_path: Path) -> None:
    path = tmp_path / "drawing.svgz"
    path.write_bytes(gzip.compress(b'<svg width="4" height="4"><rect width="4" height="4"/></svg>'))
    assert (draw_svg(path, 32).orders == 1).all()


@pytest.mark.parametrize(
    ("body", "attributes", "reason"),
    [
        ("", 'width="9" height="9"', "empty drawing"),
        ('<defs><path d="M0 0H9V9z"/></defs>', 'width="9" height="9"', "empty drawing"),
        ('<rect x="99" width="9" height="9"/>', 'width="9" height="9"', "no visible element"),
        ('<rect width="9" height="9" fill="none"/>', "", "no visible element"),
        ('<rect width="9" height="9"/>', 'width="0" height="9"', "empty canvas"),
        ('<rect width="9" height="9"/>', 'width="9e9" height="9e9"', "canvas too large"),
        ('<rect width="9" height="9"/>', 'width="9000" height="1"', "canvas too narrow"),
    ],
)
def test_empty_drawings_are_refused_by_name(tmp_path: Path, body: str, attributes: str, reason: str) -> None:
    with pytest.raises(SvgRefusedError) as refusal:
        drawn(tmp_path, body, attributes)
    assert refusal.value.reason == reason


def test_uses_of_uses_that_grow_without_bounds_are_refused(tmp_path: Path) -> None:
    body = '<defs><path id="a0" d="M0 0H9V9z"/>'
    for level in range(1, 30):
        body += f'<g id="a{level}"><use xlink:href="#a{level - 1}"/><use xlink:href="#a{level - 1}"/></g>'
    with pytest.raises(SvgRefusedError) as refusal:
        drawn(tmp_path, body + '</defs><use xlink:href="#a29"/>')
    assert refusal.value.reason == "too many elements"


def test_the_border_of_a_nested_svg_is_crisp(tmp_path: Path) -> None:
    """Its position cuts pixels in two; on an opaque background, mixed colours would be numbers of other elements."""
    hidden = '<rect width="9" height="9" fill="none"/>' * 196
    path = tmp_path / "nested.svg"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><rect width="200" height="200" fill="red"/>'
        f"{hidden}"
        '<svg x="20.3" y="20.3" width="160" height="160"><rect width="300" height="300" fill="blue"/></svg></svg>'
    )
    for size in (200, 512):
        drawn = draw_svg(path, size)
        assert np.unique(drawn.numbers).tolist() == [1, 198]
        side = np.count_nonzero(drawn.numbers[size // 2] == 198)
        assert abs(side - 160 * size / 200) <= 1


@pytest.mark.slow
def test_more_layers_than_sixteen_bits_hold_are_refused(tmp_path: Path) -> None:
    squares = "".join(f'<rect x="{x}" y="{y}" width="1" height="1"/>' for y in range(257) for x in range(257))
    path = tmp_path / "many.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 257 257">{squares}</svg>')
    with pytest.raises(SvgRefusedError, match="more than 65535 are visible"):
        draw_svg(path, 257)
