"""Refused SVG files, and safety: nothing outside a file is reached."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from formats.errors import InputError
from formats.images import write_png
from formats.svg.document import parse_svg, read_svg
from formats.svg.paint_order import draw_svg
from formats.svg.tree import SvgRefusedError

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
RECT = '<rect width="8" height="8" fill="blue"/>'


def svg(body: str, head: str = "") -> bytes:
    return f'{head}<svg {NAMESPACES} width="8" height="8">{body}</svg>'.encode()


def refusal(content: bytes) -> SvgRefusedError:
    with pytest.raises(SvgRefusedError) as caught:
        parse_svg(content, "drawing.svg")
    return caught.value


BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    "declarations",
    [
        f'<!ENTITY e0 "ha">{BOMB}',
        f'<!ENTITY long "{"x" * 100_000}">',
        '<!ENTITY file SYSTEM "/etc/hostname">',
        '<!ENTITY % outside SYSTEM "http://example.org/x.dtd"> %outside;',
        '<!ENTITY % p "x">',
        "".join(f'<!ENTITY n{i} "x">' for i in range(1000)),
    ],
)
def test_entities_that_grow_or_point_elsewhere_are_refused(declarations: str) -> None:
    content = svg("<text>&e9;&file;&long;</text>", f"<!DOCTYPE svg [{declarations}]>")
    assert refusal(content).reason == "entity declarations"


def test_repeated_short_entities_are_refused_before_they_fill_the_memory() -> None:
    body = f"<text>{'&e;' * 100_000}</text>"
    assert refusal(svg(body, f'<!DOCTYPE svg [<!ENTITY e "{"x" * 1000}">]>')).reason == "entity declarations"


def test_entities_that_name_namespaces_are_read() -> None:
    content = b"""<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [
    <!ENTITY ns_svg "http://www.w3.org/2000/svg"><!ENTITY st0 "fill:#FFFFFF;">
    <!ENTITY ns_ai "http://ns.adobe.com/AdobeIllustrator/10.0/">]>
    <svg xmlns="&ns_svg;" xmlns:i="&ns_ai;"><i:pgf>x</i:pgf><g i:layer="yes" style="&st0;"/></svg>"""
    root = parse_svg(content, "drawing.svg")
    (group,) = root.elements
    assert group.attributes == {"style": "fill:#FFFFFF;"}


@pytest.mark.parametrize(
    "body",
    [
        '<image xlink:href="{file}" width="8" height="8"/>',
        '<image href="file://{file}" width="8" height="8"/>',
        '<image href="canary.png" width="8" height="8"/>',
        '<image href="http://127.0.0.1:9/canary.png" width="8" height="8"/>',
        '<use xlink:href="other.svg#a"/>',
        '<linearGradient id="g" xlink:href="other.svg#g"/>',
        '<filter id="f"><feImage xlink:href="{file}"/></filter><rect width="8" height="8" filter="url(#f)"/>',
        '<rect width="8" height="8" fill="url(other.svg#g)"/>',
        '<rect width="8" height="8" style="mask:URL( \'other.svg#m\' )"/>',
        '<rect width="8" height="8" style="fill:u\\72l(other.svg#g)"/>',
        '<rect width="8" height="8" fill="URL( /* */ \'other.svg#g"/>',
        '<rect width="8" height="8" fill="url(other.svg #g)"/>',
        "<style>@import 'other.css';</style>",
        "<style>@im\\70ort 'other.css';</style>",
        "<style>rect {{ fill: url(http://127.0.0.1:9/x) }}</style>",
        "<style>@font-face {{ font-family: a; src: url({file}) }}</style>",
        '<image href="data:image/svg+xml;base64,{inner}" width="8" height="8"/>',
        '<image href="data:image/png;base64,{inner}" width="8" height="8"/>',
    ],
)
def test_references_out_of_the_file_are_refused(tmp_path: Path, body: str) -> None:
    canary = tmp_path / "canary.png"
    write_png(canary, np.full((8, 8, 3), (255, 0, 0), np.uint8))
    inner = base64.b64encode(svg(f'<image xlink:href="{canary}" width="8" height="8"/>')).decode()
    path = tmp_path / "drawing.svg"
    path.write_bytes(svg(RECT + body.format(file=canary, inner=inner)))
    with pytest.raises(SvgRefusedError) as caught:
        draw_svg(path, 16)
    assert caught.value.reason == "external reference"


@pytest.mark.parametrize(
    "body",
    [
        "<style>/* @import 'other.css'; url(other.svg) */ text::after {{ content: 'url(other.svg)' }}</style>",
        '<rect width="4" height="4" fill="url( \' #g\' ) red"/>',
        '<rect width="4" height="4" style="fill:url(data:image/png;base64,AAAA)"/>',
    ],
)
def test_references_within_the_file_are_not_refused(body: str) -> None:
    parse_svg(svg(RECT + body), "drawing.svg")


def test_an_external_style_sheet_is_refused() -> None:
    assert refusal(svg(RECT, '<?xml-stylesheet href="x.css"?>')).reason == "external reference"


def test_links_scripts_and_metadata_of_other_programs_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "drawing.svg"
    path.write_bytes(
        svg(
            f'<a xlink:href="https://example.org/">{RECT}</a><script xlink:href="https://example.org/x.js">x</script>'
            '<metadata><x xlink:href="file.png"/></metadata><image width="3" height="3" xlink:href=""/>'
            '<animate attributeName="fill" to="red"/><x:y xmlns:x="urn:x"><rect width="8" height="8"/></x:y>'
        )
    )
    drawn = draw_svg(path, 16)
    assert (drawn.orders == 1).all()
    assert (drawn.image == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken XML"),
        (b"<svg", "broken XML"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><g></svg>', "broken XML"),
        (svg("<i:path/>"), "broken XML"),
        (b'<?xml version="1.0" encoding="no-such"?><svg/>', "broken XML"),
        (b"\x1f\x8bbroken", "broken XML"),
        (b"<html/>", "not an SVG"),
        (svg("<g>" * 300 + "</g>" * 300), "nested too deeply"),
    ],
)
def test_unreadable_files_are_refused_by_name(content: bytes, reason: str) -> None:
    assert refusal(content).reason == reason


def test_more_elements_than_a_drawing_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formats.svg.document.MAX_ELEMENTS", 100)
    parse_svg(svg("<g/>" * 99), "drawing.svg")
    assert refusal(svg("<g/>" * 100)).reason == "too many elements"


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.svg: unreadable file: No such file"):
        read_svg(tmp_path / "absent.svg")
