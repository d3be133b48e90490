"""Apply style sheets, inline style and presentation attributes to the elements of an SVG document.

CSS is parsed by tinycss2, and selectors are matched by cssselect2. At-rules are skipped, as the renderer does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from xml.etree import ElementTree as ET

import cssselect2
import tinycss2

from formats.svg.tree import Node

PROPERTIES = frozenset(
    """
        alignment-baseline baseline-shift background-color clip clip-path clip-rule color color-interpolation
        color-interpolation-filters color-profile color-rendering direction display dominant-baseline
        enable-background fill fill-opacity fill-rule filter flood-color flood-opacity font font-family font-kerning
        font-size font-size-adjust font-stretch font-style font-variant font-weight glyph-orientation-horizontal
        glyph-orientation-vertical image-rendering isolation kerning letter-spacing lighting-color marker-end
        marker-mid marker-start mask mask-type mix-blend-mode opacity overflow paint-order pointer-events
        shape-rendering stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap
        stroke-linejoin stroke-miterlimit stroke-opacity stroke-width text-anchor text-decoration text-overflow
        text-rendering transform transform-box transform-origin unicode-bidi vector-effect visibility white-space
        word-spacing writing-mode
    """.split()  # noqa: SIM905
)
_SHORTHANDS = {"marker": ("marker-start", "marker-mid", "marker-end")}

Declarations = tuple[tuple[str, str, bool], ...]


def apply_styles(root: Node) -> None:
    """Set every element's property values from attributes, then style sheets, then inline style.

    They are written to the elements' ``style`` and, as attributes, to the document, which then renders the same
    without style sheets and inline style.
    """
    matches = _matches(root)
    for node in root.walk():
        style = {name: value for name, value in node.attributes.items() if name in PROPERTIES}
        declared = [entry for rule in matches.get(node, ()) for entry in rule]
        if "style" in node.attributes:
            declared.extend(declarations(node.attributes["style"]))
        if declared:
            _cascade(style, declared)
        node.style = style
        _write_attributes(node)


def _matches(root: Node) -> dict[Node, list[Declarations]]:
    """Find the declarations of the style sheet rules that match each element, those of higher precedence last."""
    matcher = cssselect2.Matcher()
    for node in root.walk():
        if node.tag != "style" or node.attributes.get("type", "") not in ("", "text/css"):
            continue
        for rule in tinycss2.parse_stylesheet(node.text):
            if rule.type == "qualified-rule":
                _add_rule(matcher, rule)
    if not matcher.order:
        return {}
    wrapped = cssselect2.ElementWrapper.from_xml_root(_element(root)).iter_subtree()
    return {
        node: [payload for _, _, _, payload in matcher.match(element)]
        for node, element in zip(root.walk(), wrapped, strict=True)
    }


def _add_rule(matcher: cssselect2.Matcher, rule: tinycss2.ast.QualifiedRule) -> None:
    try:
        selectors = cssselect2.compile_selector_list(rule.prelude)
    except cssselect2.SelectorError:
        return
    payload = _declarations(rule.content)
    for selector in selectors:
        if selector.pseudo_element is None:
            matcher.add_selector(selector, payload)


def _element(node: Node) -> ET.Element:
    """Copy an element with its descendants for cssselect2, which matches trees of the standard library."""
    element = ET.Element(node.tag, node.attributes)
    element.extend(_element(child) for child in node.elements)
    return element


@lru_cache(maxsize=4096)  # elements of a drawing often have the same style
def declarations(text: str) -> Declarations:
    """Parse a style attribute as (property, value, is important), with shorthands expanded."""
    return _declarations(text)


def _declarations(content: str | Iterable[tinycss2.ast.Node]) -> Declarations:
    found: list[tuple[str, str, bool]] = []
    for entry in tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if entry.type != "declaration":
            continue
        value = tinycss2.serialize(entry.value).strip()
        for name in _SHORTHANDS.get(entry.lower_name, (entry.lower_name,)):
            if name in PROPERTIES and value:
                found.append((name, value, entry.important))
    return tuple(found)


def _cascade(style: dict[str, str], declared: Iterable[tuple[str, str, bool]]) -> None:
    important = set()
    for name, value, is_important in declared:
        if is_important or name not in important:
            style.pop(name, None)  # the order of properties matters between font and font-size
            style[name] = value
        if is_important:
            important.add(name)


def _write_attributes(node: Node) -> None:
    for name in ("class", "style"):
        node.attributes.pop(name, None)
    node.attributes |= node.style
    if "font" in node.style:  # not a presentation attribute, and its order among the other properties matters
        fonts = [name for name in node.style if name.startswith("font")]
        node.attributes["style"] = ";".join(f"{name}:{node.style[name]}" for name in fonts)
        del node.attributes["font"]
    if node.tag == "style":
        node.children.clear()
