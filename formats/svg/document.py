"""Read SVG files into a tree that is safe to draw: it never gives access to anything outside the file.

XML is parsed by expat, which loads no other files. Declared entities are accepted only if they are short text (Adobe
Illustrator declares its namespaces that way); every reference has to stay within the document or be a ``data:`` URI.
Scripts, animations, metadata, and elements and attributes of other programs are left out, since they draw nothing.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zlib
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

import tinycss2

from formats.svg.tree import SVG, XLINK, XML, Node, SvgRefusedError, serialise

MAX_BYTES = 64 * 2**20
MAX_ELEMENTS = 200_000
MAX_DEPTH = 200
MAX_ENTITIES, MAX_ENTITY_LENGTH = 256, 1024
MAX_EMBEDDED = 3  # levels of SVG embedded in an image of an SVG

_IGNORED = frozenset(
    {"script", "metadata", "title", "desc", "foreignObject", "animate", "animateColor", "animateMotion"}
    | {"animateTransform", "set", "mpath", "discard", "handler", "listener", "cursor", "view", "audio", "video"}
    | {"iframe", "canvas", "flowRoot", "color-profile", "font", "font-face", "hkern", "vkern"}
)
_RASTER = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")


def read_svg(path: str | Path) -> Node:
    """Read an SVG file, plain or compressed (``.svgz``).

    Returns:
        The root element.

    Raises:
        SvgRefusedError: For the reason ``unreadable file``, ``file too large``, ``broken XML``, ``not an SVG``,
            ``entity declarations``, ``external reference``, ``nested too deeply`` or ``too many elements``.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise SvgRefusedError(path, "unreadable file", "is not a regular file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SvgRefusedError(path, "unreadable file", error.strerror or str(error)) from None
    return parse_svg(content, path)


def parse_svg(content: bytes, where: str | Path, embedded: int = 0) -> Node:
    """Parse an SVG document, plain or gzipped; arguments, result and errors as for `read_svg`.

    Args:
        content: The document.
        where: Its file, for error messages.
        embedded: Number of SVG documents around it.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise SvgRefusedError(where, "broken XML", f"broken compression: {error}") from None
    if len(content) > MAX_BYTES:
        raise SvgRefusedError(where, "file too large", f"more than {MAX_BYTES // 2**20} MiB")
    root = _Reader(where).read(content)
    for node in root.walk():
        _check_references(node, where, embedded)
    return root


class _Reader:
    """Handlers of expat that build the tree."""

    def __init__(self, where: str | Path) -> None:
        self.where = where
        self.root: Node | None = None
        self.open: list[Node] = []
        self.ignored_depth = 0  # depth within an element that is left out
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
        except expat.ExpatError as error:
            reason = "entity declarations" if error.code in _ENTITY_FAULTS else "broken XML"
            raise SvgRefusedError(self.where, reason, str(error)) from None
        except SvgRefusedError:
            raise
        except (ValueError, LookupError) as error:  # an encoding unknown to Python
            raise SvgRefusedError(self.where, "broken XML", str(error)) from None
        if self.root is None:
            raise SvgRefusedError(self.where, "not an SVG", "the root element is not svg")
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
        drawn = namespace in (SVG, "") and tag not in _IGNORED
        if not self.open and (self.root is not None or not drawn or tag != "svg"):
            drawn = False
        if self.ignored_depth or not drawn:
            self.ignored_depth += 1
            return
        node = Node(tag, _own_attributes(attributes), parent=self.open[-1] if self.open else None)
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)

    def end(self, name: str) -> None:
        self.depth -= 1
        if self.ignored_depth:
            self.ignored_depth -= 1
        else:
            self.open.pop()

    def data(self, text: str) -> None:
        self.characters += len(text)
        self._check_expansion()
        if self.open and not self.ignored_depth and self.open[-1].tag in _WITH_TEXT:
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
            raise SvgRefusedError(self.where, "entity declarations", "entities expand beyond the size limit of a file")


_WITH_TEXT = frozenset({"text", "tspan", "textPath", "tref", "a", "style", "altGlyph"})
_ENTITY_FAULTS = {
    expat.errors.codes[name]
    for name in (expat.errors.XML_ERROR_RECURSIVE_ENTITY_REF, expat.errors.XML_ERROR_ENTITY_DECLARED_IN_PE)
} | {43}  # XML_ERROR_AMPLIFICATION_LIMIT_BREACH, which Python names since 3.14


def _own_attributes(attributes: dict[str, str]) -> dict[str, str]:
    """Return SVG's attributes by local name, without those of other programs."""
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
    """Refuse references that leave the document; make embedded images safe in the same way."""
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
        node.attributes["href"] = _embedded_image(href, where, embedded)
    else:
        raise SvgRefusedError(where, "external reference", f"{node.tag} {href[:80]}")


def _check_css(text: str, where: str | Path, place: str) -> None:
    pending = tinycss2.parse_component_value_list(text, skip_comments=True)
    while pending:
        token = pending.pop()
        reference = "#"
        if token.type == "url":
            reference = token.value
        elif token.type == "function" and token.lower_name == "url":
            reference = tinycss2.serialize(token.arguments).strip(" '\"")
        elif token.type == "error" and token.kind == "bad-url":
            reference = token.message
        elif token.type == "at-keyword" and token.lower_value == "import":
            reference = "@import"
        if reference and not reference.startswith("#") and reference[:5].lower() != "data:":
            raise SvgRefusedError(where, "external reference", f"{place} {reference[:80]}")
        pending.extend(getattr(token, "arguments", None) or getattr(token, "content", None) or ())


def _embedded_image(href: str, where: str | Path, embedded: int) -> str:
    """Return a data URI unchanged if it holds a raster image; if it holds SVG, one made from its safe tree."""
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
        if refusal.reason in ("broken XML", "not an SVG"):
            return ""  # the renderer could not show it either
        raise
    return "data:image/svg+xml;base64," + base64.b64encode(serialise(root).encode()).decode()
