"""What style sheets, inline style and presentation attributes come to, as the renderer applies them.

Understood are the selectors that resvg understands: type, ``*``, class, id, attributes, ``:first-child``, the
descendant, child and neighbour combinators, and lists. At-rules are passed over, as they are by it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

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

_DECLARATION = re.compile(r"""([-\w]+)\s*:\s*((?:[^;"'()]|"[^"]*"|'[^']*'|\((?:[^()"']|"[^"]*"|'[^']*')*\))*)""")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SIMPLE = re.compile(
    r"""(?P<type>[a-zA-Z_][-\w]*|\*)|\#(?P<id>[-\w]+)|\.(?P<class>[-\w]+)|:(?P<pseudo>[-\w]+)"""
    r"""|\[\s*(?P<attribute>[-:\w]+)\s*(?:(?P<operator>[~|^$*]?=)\s*(?P<value>"[^"]*"|'[^']*'|[^\]\s]+)\s*)?\]"""
)


@dataclass(frozen=True)
class _Compound:
    """Simple selectors that one element has to meet, and how it stands to the element on its left."""

    combinator: str  # "", " ", ">" or "+"
    parts: tuple[tuple[str, str, str], ...]

    def matches(self, node: Node) -> bool:
        return all(_meets(node, *part) for part in self.parts)


@dataclass(frozen=True)
class _Rule:
    selector: tuple[_Compound, ...]
    declarations: tuple[tuple[str, str, bool], ...]

    @property
    def specificity(self) -> tuple[int, int, int]:
        kinds = [kind for compound in self.selector for kind, _, _ in compound.parts]
        ids, types = kinds.count("id"), kinds.count("type")
        return ids, len(kinds) - ids - types - kinds.count("any"), types


class _RuleIndex:
    """Rules by the id, class or type that an element must have, so that few are tried on each."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._rules: dict[tuple[str, str], list[tuple[int, _Rule]]] = defaultdict(list)
        for place, rule in enumerate(sorted(rules, key=lambda rule: rule.specificity)):
            keys = [(kind, name) for kind, name, _ in rule.selector[-1].parts if kind in ("id", "class", "type")]
            self._rules[min(keys, default=("any", ""))].append((place, rule))

    def selecting(self, node: Node) -> list[_Rule]:
        """The rules that apply to ``node``, the stronger ones last."""
        if not self._rules:
            return []
        keys = {("class", name) for name in node.attributes.get("class", "").split()}
        keys |= {("any", ""), ("type", node.tag), ("id", node.attributes.get("id", ""))}
        tried = (entry for key in keys for entry in self._rules.get(key, ()))
        found = [(place, rule) for place, rule in tried if _selects(rule.selector, node)]
        return [rule for _, rule in sorted(found, key=lambda entry: entry[0])]


def apply_styles(root: Node) -> None:
    """Give every element its property values: attributes, then style sheets, then inline style.

    They are written into the elements' ``style`` and, as attributes, into the document, which then draws alike
    without style sheets and inline style.
    """
    sheets = [node.text for node in root.walk() if node.tag == "style" and _is_css(node)]
    rules = _RuleIndex([rule for sheet in sheets for rule in _rules(sheet)])
    for node in root.walk():
        style = {name: value for name, value in node.attributes.items() if name in PROPERTIES}
        declared = [entry for rule in rules.selecting(node) for entry in rule.declarations]
        if "style" in node.attributes:
            declared.extend(declarations(node.attributes["style"]))
        if declared:
            _cascade(style, declared)
        node.style = style
    for node in root.walk():  # when all selectors have seen the document as it was
        _write_attributes(node)


def _write_attributes(node: Node) -> None:
    for name in ("class", "style"):
        node.attributes.pop(name, None)
    node.attributes |= node.style
    if "font" in node.style:  # no attribute, and in force by its place among the other properties
        fonts = [name for name in node.style if name.startswith("font")]
        node.attributes["style"] = ";".join(f"{name}:{node.style[name]}" for name in fonts)
        del node.attributes["font"]
    if node.tag == "style":
        node.children.clear()


def declarations(text: str) -> tuple[tuple[str, str, bool], ...]:
    """The declarations of a style attribute or rule as (property, value, is it important)."""
    found: list[tuple[str, str, bool]] = []
    for name, value in _DECLARATION.findall(_COMMENT.sub("", text) if "/*" in text else text):
        value, bang, _ = value.strip().partition("!")
        name = name.lower()
        names = ("marker-start", "marker-mid", "marker-end") if name == "marker" else (name,)
        if value.strip():
            found.extend((name, value.strip(), bool(bang)) for name in names if name in PROPERTIES)
    return tuple(found)


def _cascade(style: dict[str, str], declared: list[tuple[str, str, bool]]) -> None:
    important = set()
    for name, value, is_important in declared:
        if is_important or name not in important:
            style.pop(name, None)  # the order of properties matters between font and font-size
            style[name] = value
        if is_important:
            important.add(name)


def _is_css(node: Node) -> bool:
    return node.attributes.get("type", "") in ("", "text/css")


def _rules(sheet: str) -> list[_Rule]:
    rules = []
    for selectors, body in _blocks(_COMMENT.sub("", sheet).replace("<!--", "").replace("-->", "")):
        entries = declarations(body)
        for text in selectors.split(","):
            selector = _selector(text.strip())
            if selector:
                rules.append(_Rule(selector, entries))
    return rules


def _blocks(sheet: str) -> list[tuple[str, str]]:
    """(selectors, body) of every rule outside at-rules."""
    blocks, position = [], 0
    while position < len(sheet):
        opening = sheet.find("{", position)
        head = sheet[position : opening if opening >= 0 else len(sheet)].strip()
        if head.startswith("@") and ";" in head:  # an at-rule without a block
            position = sheet.index(";", position) + 1
            continue
        if opening < 0:
            break
        end, depth = opening + 1, 1
        while end < len(sheet) and depth:
            depth += {"{": 1, "}": -1}.get(sheet[end], 0)
            end += 1
        if not head.startswith("@"):
            blocks.append((head, sheet[opening + 1 : end - 1 if not depth else end]))
        position = end
    return blocks


def _selector(text: str) -> tuple[_Compound, ...]:
    """The compounds of a selector from left to right; empty when a part is not understood."""
    compounds, combinator, position = [], "", 0
    while position < len(text):
        gap = re.match(r"\s*([>+])\s*|\s+", text[position:])
        if gap:
            combinator = gap[1] or " "
            position += gap.end()
        parts = []
        while match := _SIMPLE.match(text, position):
            part = _part(match)
            if part is None:
                return ()
            parts.append(part)
            position = match.end()
        if not parts:
            return ()
        compounds.append(_Compound(combinator, tuple(parts)))
    return tuple(compounds)


def _part(match: re.Match[str]) -> tuple[str, str, str] | None:
    if match["type"]:
        return ("any", "", "") if match["type"] == "*" else ("type", match["type"], "")
    if match["id"]:
        return "id", match["id"], ""
    if match["class"]:
        return "class", match["class"], ""
    if match["pseudo"]:
        return ("first-child", "", "") if match["pseudo"] == "first-child" else None
    return (match["operator"] or "has"), match["attribute"], (match["value"] or "").strip("\"'")


def _meets(node: Node, kind: str, name: str, wanted: str) -> bool:
    if kind == "any":
        return True
    if kind == "type":
        return node.tag == name
    if kind == "id":
        return node.attributes.get("id") == name
    if kind == "class":
        return name in node.attributes.get("class", "").split()
    if kind == "first-child":
        return node.parent is not None and next(node.parent.elements) is node
    value = node.attributes.get(name)
    if value is None:
        return False
    return {
        "has": True,
        "=": value == wanted,
        "~=": wanted in value.split(),
        "|=": value == wanted or value.startswith(wanted + "-"),
        "^=": value.startswith(wanted),
        "$=": value.endswith(wanted),
        "*=": wanted in value,
    }[kind]


def _selects(selector: tuple[_Compound, ...], node: Node) -> bool:
    *left, last = selector
    if not last.matches(node):
        return False
    if not left:
        return True
    if last.combinator == " ":
        ancestor = node.parent
        while ancestor is not None:
            if _selects(tuple(left), ancestor):
                return True
            ancestor = ancestor.parent
        return False
    if last.combinator == ">":
        return node.parent is not None and _selects(tuple(left), node.parent)
    before = _previous(node)
    return before is not None and _selects(tuple(left), before)


def _previous(node: Node) -> Node | None:
    if node.parent is None:
        return None
    return next((one for one, other in pairwise(node.parent.elements) if other is node), None)
