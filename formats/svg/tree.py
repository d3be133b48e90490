"""Tree of an SVG document: its elements, and writing them as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from formats.errors import InputError

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"

SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})
DRAWABLE = SHAPES | {"text", "use", "image"}
CONTAINERS = frozenset({"svg", "g", "a", "switch"})


class SvgRefusedError(InputError):
    """An SVG file that cannot be drawn.

    Args:
        where: The file.
        reason: Short name of the reason, such as ``broken XML``.
        detail: The fault in this file.
    """

    def __init__(self, where: str | Path, reason: str, detail: str = "") -> None:
        super().__init__(where, f"{reason}: {detail}" if detail else reason, "Repair the file or leave it out.")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[SvgRefusedError], tuple[str, str, str]]:
        return type(self), (self.where, self.reason, self.detail)


@dataclass(eq=False, slots=True)
class Node:
    """An SVG element.

    Attributes:
        tag: Local name, such as ``path``.
        attributes: By local name; ``href`` is also ``xlink:href``, ``space`` is ``xml:space``.
        children: Elements and, in text, character data.
        parent: None for the root.
        style: Property values by name after style sheets and inline style; set by `formats.svg.style.apply_styles`.
        number: Paint order among the drawable elements of the document, 1 … n; 0 for every other element.
    """

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)
    parent: Node | None = None
    style: dict[str, str] = field(default_factory=dict)
    number: int = 0

    @property
    def elements(self) -> Iterator[Node]:
        """Child elements, without character data."""
        return (child for child in self.children if isinstance(child, Node))

    def walk(self) -> Iterator[Node]:
        """Yield this element and its descendants in document order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(child for child in reversed(node.children) if isinstance(child, Node))

    @property
    def text(self) -> str:
        """Character data of the element itself, without that of its descendants."""
        return "".join(child for child in self.children if isinstance(child, str))


def serialise(root: Node) -> str:
    """Return the document as text that is safe to draw."""
    parts: list[str] = []
    _write(root, parts)
    return "".join(parts)


def _write(node: Node, parts: list[str]) -> None:
    parts.append(start_tag(node.tag, node.attributes, node.parent is None))
    for child in node.children:
        if isinstance(child, Node):
            _write(child, parts)
        else:
            parts.append(escape(child))
    parts.append(f"</{node.tag}>")


def start_tag(tag: str, attributes: dict[str, str], is_root: bool = False) -> str:
    """Return an element's opening tag, with the namespace prefixes that `Node.attributes` omits."""
    texts = [f' {_PREFIXED.get(name, name)}="{escape(value)}"' for name, value in attributes.items()]
    if is_root:
        texts.insert(0, f' xmlns="{SVG}" xmlns:xlink="{XLINK}"')
    return f"<{tag}{''.join(texts)}>"


_PREFIXED = {"href": "xlink:href", "space": "xml:space"}
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def escape(text: str) -> str:
    """Escape character data or an attribute's value for XML."""
    return text.translate(_ESCAPES)
