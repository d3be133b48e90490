"""Reports as Markdown and HTML."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from exporters.visualization.document import (
    Block,
    Bullets,
    Figure,
    Heading,
    Paragraph,
    Table,
    to_html,
    to_markdown,
    write_document,
)

IMAGE = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
BLOCKS: list[Block] = [
    Heading("A <title>", 1),
    Paragraph("Bold & `code <b>`", bold=True),
    Table(("name", "number"), [("a|b", "1"), ("c", "2")], numbers=frozenset({1}), marked=frozenset({1})),
    Bullets(["one", "two"]),
    Figure("A figure", IMAGE, "a_figure"),
]


class Reader(HTMLParser):
    """Collects the tags that are open, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_markdown() -> None:
    assert to_markdown(BLOCKS) == (
        "# A <title>\n\n**Bold & `code <b>`**\n\n"
        "| name | number |\n|---|---:|\n| a\\|b | 1 |\n| **c** | **2** |\n\n- one\n- two\n\n"
        "A figure\n\n![A figure](a_figure.png)\n"
    )


def test_html_is_whole_and_loads_nothing() -> None:
    page = to_html(BLOCKS)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    (image,) = reader.loaded
    with Image.open(io.BytesIO(base64.b64decode(image.removeprefix("data:image/png;base64,")))) as decoded:
        assert np.array_equal(np.asarray(decoded), IMAGE)
    assert "<title>A &lt;title&gt;</title>" in page
    assert "<strong>Bold &amp; <code>code &lt;b&gt;</code></strong>" in page
    assert '<td>a|b</td><td class="number">1</td>' in page
    assert '<tr class="marked"><td>c</td>' in page
    assert not re.search(r"https?:", page)


def test_files(tmp_path: Path) -> None:
    path = write_document(tmp_path / "new", "report", BLOCKS)
    assert path == tmp_path / "new" / "report.md"
    assert sorted(file.name for file in path.parent.iterdir()) == ["a_figure.png", "report.html", "report.md"]
