"""Cascade of style sheets, inline style and presentation attributes."""

from __future__ import annotations

import pytest

from formats.svg.document import parse_svg
from formats.svg.style import apply_styles, declarations
from formats.svg.tree import Node


def styled(sheet: str, body: str) -> Node:
    """Parse a drawing with a style sheet and return its first element after the sheet, styles applied."""
    root = parse_svg(f'<svg xmlns="http://www.w3.org/2000/svg"><style>{sheet}</style>{body}</svg>'.encode(), "a.svg")
    apply_styles(root)
    return list(root.elements)[1]


@pytest.mark.parametrize(
    ("sheet", "body", "fill"),
    [
        ("", '<rect fill="red"/>', "red"),
        ("rect { fill: blue }", '<rect fill="red"/>', "blue"),
        ("rect { fill: blue }", '<rect fill="red" style="fill: lime"/>', "lime"),
        ("rect { fill: blue ! important }", '<rect style="fill:lime"/>', "blue"),
        ("rect { fill: blue !important }", '<rect style="fill:lime!important"/>', "lime"),
        ("#a { fill: blue } .b { fill: red } rect { fill: lime }", '<rect id="a" class="c b"/>', "blue"),
        (".b.c { fill: blue } .b { fill: red }", '<rect class="c b"/>', "blue"),
        (".b { fill: blue } .c { fill: red }", '<rect class="c b"/>', "red"),
        ("circle, rect { fill: blue }", "<rect/>", "blue"),
        ("svg > rect { fill: blue } g rect { fill: red }", "<rect/>", "blue"),
        ("style + rect { fill: blue } rect + rect { fill: red }", "<rect/>", "blue"),
        ("[x^='ab'] { fill: blue } [x=ab] { fill: red }", '<rect x="abc"/>', "blue"),
        ("<!-- rect { fill: blue } -->".replace("<", "&lt;"), "<rect/>", "blue"),
        ("/* { */ rect { /* fill: red; */ fill: bl\\75 e }", "<rect/>", "blue"),
        ("rect { fill: blue } @media print { rect { fill: red } } @charset 'x';", "<rect/>", "blue"),
        ("rect { fill: blue } rect::before { fill: red } rect:hover { fill: red }", "<rect/>", "blue"),
        ("rect { fill: blue } rect:no-such, rect { fill: red } 4 { fill: red }", "<rect/>", "blue"),
        ("rect { stroke red; fill: blue; ; fill }", "<rect/>", "blue"),
    ],
)
def test_the_declaration_of_highest_precedence_counts(sheet: str, body: str, fill: str) -> None:
    node = styled(sheet, body)
    assert node.style["fill"] == fill
    assert node.attributes["fill"] == fill
    assert "style" not in node.attributes
    assert "class" not in node.attributes


def test_only_css_sheets_count_and_selectors_see_the_original_document() -> None:
    root = parse_svg(
        b"""<svg><style type="text/x">g { fill: red }</style><style type="text/css">.a { fill: blue }</style>
        <style>.a .b { stroke: lime }</style><g class="a"><path class="b"/></g></svg>""",
        "a.svg",
    )
    apply_styles(root)
    group = next(node for node in root.walk() if node.tag == "g")
    assert group.style == {"fill": "blue"}
    assert next(group.elements).style == {"stroke": "lime"}


def test_shorthands_and_unknown_properties() -> None:
    assert declarations("marker: url(#m); -inkscape-x: 1; Fill : RED;font:bold 3px 'A;B'") == (
        ("marker-start", "url(#m)", False),
        ("marker-mid", "url(#m)", False),
        ("marker-end", "url(#m)", False),
        ("fill", "RED", False),
        ("font", 'bold 3px "A;B"', False),
    )


def test_font_keeps_its_order_among_the_longhands() -> None:
    node = styled("", '<text style="font-size:9px;font:3px A;font-weight:bold"/>')
    assert node.attributes["style"] == "font-size:9px;font:3px A;font-weight:bold"
