"""SVG files read into a tree that is safe to draw: nothing outside the file is ever reached through it.

XML is parsed by expat, which loads nothing from elsewhere. Declared entities are taken only where they are short text
(Adobe Illustrator names its namespaces so); every reference has to stay within the document or be a ``data:`` URI. What
draws nothing (scripts, animations, metadata, elements and attributes of other programs) is left out.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from formats.errors import InputError

MAX_BYTES = 64 * 2**20
MAX_ELEMENTS = 200_000
MAX_DEPTH = 200
MAX_ENTITIES, MAX_ENTITY_LENGTH = 256, 1024
MAX_EMBEDDED = 3  # SVG in an image in an SVG …

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"

SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})
DRAWABLE = SHAPES | {"text", "use", "image"}
CONTAINERS = frozenset({"svg", "g", "a", "switch"})
_LEFT_OUT = frozenset(
    {"script", "metadata", "title", "desc", "foreignObject", "animate", "animateColor", "animateMotion"}
    | {"animateTransform", "set", "mpath", "discard", "handler", "listener", "cursor", "view", "audio", "video"}
    | {"iframe", "canvas", "flowRoot", "color-profile", "font", "font-face", "hkern", "vkern"}
)
_RASTER = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_URL = re.compile(r"url\(\s*['\"]?\s*([^'\")\s]*)", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class SvgRefusedError(InputError):
    """An SVG file that is not drawn.

    Args:
        where: The file.
        reason: The name of the reason, such as ``broken XML``.
        detail: What it is in this file.
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
        style: Property values after style sheets and inline style, as `formats.svg.style.apply_styles` leaves them.
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
        """Children that are elements."""
        return (child for child in self.children if isinstance(child, Node))

    def walk(self) -> Iterator[Node]:
        """This element and all within, in document order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(child for child in reversed(node.children) if isinstance(child, Node))

    @property
    def text(self) -> str:
        """Character data directly within."""
        return "".join(child for child in self.children if isinstance(child, str))


def read_svg(path: str | Path) -> Node:
    """Read an SVG file, plain or compressed (``.svgz``).

    Returns:
        The root element.

    Raises:
        SvgRefusedError: For the reason ``unreadable file``, ``file too large``, ``broken XML``, ``no SVG``,
            ``entity declarations``, ``external reference``, ``nested too deeply`` or ``too many elements``.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as fault:
        raise SvgRefusedError(path, "unreadable file", fault.strerror or str(fault)) from None
    return parse_svg(content, path)


def parse_svg(content: bytes, where: str | Path, embedded: int = 0) -> Node:
    """Parse an SVG document, plain or gzipped; arguments, result and errors as for `read_svg`.

    Args:
        content: The document.
        where: Its file, for messages.
        embedded: How many SVG documents it is embedded in.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as fault:
            raise SvgRefusedError(where, "broken XML", f"broken compression: {fault}") from None
    if len(content) > MAX_BYTES:
        raise SvgRefusedError(where, "file too large", f"more than {MAX_BYTES // 2**20} MiB")
    root = _Reader(where).read(content)
    for node in root.walk():
        _check_references(node, where, embedded)
    return root


class _Reader:
    """Builds the tree from expat's events."""

    def __init__(self, where: str | Path) -> None:
        self.where = where
        self.root: Node | None = None
        self.open: list[Node] = []
        self.left_out = 0  # depth within an element that is left out
        self.depth = self.elements = self.entities = self.characters = 0

    def read(self, content: bytes) -> Node:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.data
        parser.EntityDeclHandler = self.entity
        parser.ProcessingInstructionHandler = self.instruction
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        try:
            parser.Parse(content, True)
        except expat.ExpatError as fault:
            reason = "entity declarations" if fault.code in _ENTITY_FAULTS else "broken XML"
            raise SvgRefusedError(self.where, reason, str(fault)) from None
        except SvgRefusedError:
            raise
        except (ValueError, LookupError) as fault:  # an encoding that Python does not know
            raise SvgRefusedError(self.where, "broken XML", str(fault)) from None
        if self.root is None:
            raise SvgRefusedError(self.where, "no SVG", "the root element is not svg")
        return self.root

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        self.characters += sum(map(len, attributes.values()))
        if self.depth > MAX_DEPTH:
            raise SvgRefusedError(self.where, "nested too deeply", f"more than {MAX_DEPTH} levels")
        if self.elements > MAX_ELEMENTS:
            raise SvgRefusedError(self.where, "too many elements", f"more than {MAX_ELEMENTS}")
        self._check_expansion()
        namespace, _, tag = name.rpartition(" ")
        drawn = namespace in (SVG, "") and tag not in _LEFT_OUT
        if not self.open and (self.root is not None or not drawn or tag != "svg"):
            drawn = False
        if self.left_out or not drawn:
            self.left_out += 1
            return
        node = Node(tag, _own_attributes(attributes), parent=self.open[-1] if self.open else None)
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)

    def end(self, name: str) -> None:
        self.depth -= 1
        if self.left_out:
            self.left_out -= 1
        else:
            self.open.pop()

    def data(self, text: str) -> None:
        self.characters += len(text)
        self._check_expansion()
        if self.open and not self.left_out and self.open[-1].tag in _WITH_TEXT:
            self.open[-1].children.append(text)

    def entity(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        self.entities += 1
        if is_parameter:
            fault = f"parameter entity {name}"
        elif value is None:
            fault = f"external entity {name}"
        elif "&" in value or "%" in value or "<" in value:
            fault = f"entity {name} is more than plain text"
        elif len(value) > MAX_ENTITY_LENGTH or self.entities > MAX_ENTITIES:
            fault = "too many or too long"
        else:
            return
        raise SvgRefusedError(self.where, "entity declarations", fault)

    def instruction(self, target: str, data: str) -> None:
        if target == "xml-stylesheet":
            raise SvgRefusedError(self.where, "external reference", f"style sheet {data[:80]}")

    def _check_expansion(self) -> None:
        if self.characters > MAX_BYTES:
            raise SvgRefusedError(self.where, "entity declarations", "entities expand to more than a file may hold")


_WITH_TEXT = frozenset({"text", "tspan", "textPath", "tref", "a", "style", "altGlyph"})
_ENTITY_FAULTS = {
    expat.errors.codes[name]
    for name in (expat.errors.XML_ERROR_RECURSIVE_ENTITY_REF, expat.errors.XML_ERROR_ENTITY_DECLARED_IN_PE)
} | {43}  # XML_ERROR_AMPLIFICATION_LIMIT_BREACH, which Python names from 3.14 on


def _own_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """SVG's attributes by local name; those of other programs are left out."""
    own = {}
    for name, value in attributes.items():
        namespace, _, local = name.rpartition(" ")
        if not namespace or (namespace == XML and local == "space"):
            own[local] = value
        elif namespace == XLINK and local == "href":
            own.setdefault("href", value)
    if "href" in attributes:
        own["href"] = attributes["href"]
    return own


def _check_references(node: Node, where: str | Path, embedded: int) -> None:
    """Refuse what points out of the document; make embedded pictures safe in the same way."""
    for name, value in node.attributes.items():
        if "url" in value.lower() or "\\" in value:
            _check_css(value, where, f"{node.tag} {name}")
    if node.tag == "style":
        _check_css(node.text, where, "style sheet")
    href = node.attributes.get("href", "").strip()
    if node.tag == "a" or not href:
        node.attributes.pop("href", None)
    elif href.startswith("#"):
        node.attributes["href"] = href
    elif href[:5].lower() == "data:" and node.tag in ("image", "feImage"):
        node.attributes["href"] = _embedded_picture(href, where, embedded)
    else:
        raise SvgRefusedError(where, "external reference", f"{node.tag} {href[:80]}")


def _check_css(text: str, where: str | Path, place: str) -> None:
    text = _COMMENT.sub("", text)
    if "\\" in text:  # escapes can spell url and import
        text = re.sub(r"\\([0-9a-fA-F]{1,6})\s?", lambda code: chr(min(int(code[1], 16), 0x10FFFF)), text)
        text = text.replace("\\", "")
    if "@import" in text.lower():
        raise SvgRefusedError(where, "external reference", f"{place} @import")
    for reference in _URL.findall(text):
        if reference and not reference.startswith("#") and reference[:5].lower() != "data:":
            raise SvgRefusedError(where, "external reference", f"{place} {reference[:80]}")


def _embedded_picture(href: str, where: str | Path, embedded: int) -> str:
    """A data URI as it is if it holds a raster picture; if it holds SVG, made of what was read safely."""
    head, comma, payload = href.partition(",")
    try:
        if head.lower().rstrip().endswith("base64"):
            content = base64.b64decode(re.sub(r"\s+", "", unquote_to_bytes(payload).decode("ascii")))
        else:
            content = unquote_to_bytes(payload)
    except (binascii.Error, UnicodeDecodeError):
        return ""
    if not comma or content.startswith(_RASTER):
        return href if comma else ""
    if embedded >= MAX_EMBEDDED:
        raise SvgRefusedError(where, "nested too deeply", "SVG embedded in SVG")
    try:
        root = parse_svg(content, where, embedded + 1)
    except SvgRefusedError as refusal:
        if refusal.reason in ("broken XML", "no SVG"):
            return ""  # the renderer could not show it either
        raise
    return "data:image/svg+xml;base64," + base64.b64encode(serialise(root).encode()).decode()


def serialise(root: Node) -> str:
    """The document as it was read, as text that is safe to draw."""
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
    """An element's opening tag with the prefixes that `Node.attributes` does without."""
    texts = [f' {_PREFIXED.get(name, name)}="{escape(value)}"' for name, value in attributes.items()]
    if is_root:
        texts.insert(0, f' xmlns="{SVG}" xmlns:xlink="{XLINK}"')
    return f"<{tag}{''.join(texts)}>"


_PREFIXED = {"href": "xlink:href", "space": "xml:space"}
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def escape(text: str) -> str:
    """Character data or an attribute's value as it stands in XML."""
    return text.translate(_ESCAPES)
