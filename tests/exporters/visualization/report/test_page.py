"""The page of a report is one file that loads nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np

from exporters.visualization.report.page import Section, figure, packed, report_page, table

PIXELS = np.zeros((4, 6, 3), np.uint8)


class Tags(HTMLParser):
    """Names of elements, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("src", "href") and value:
                self.references.append(value)


def test_the_page_holds_all_it_needs() -> None:
    sections = [
        Section("One", figure("A & b", PIXELS)),
        Section("Two", kind="spectrograms", data={"rows": [], "axes": None, "up": [], "across": []}),
        Section("Three", table(("a", "b"), [("x", "1")])),
    ]
    page = report_page("A <title>", sections, "yes & no")
    tags = Tags(page)
    assert all(re.match("data:image/webp;base64,|#section-", reference) for reference in tags.references)
    assert {reference[1:] for reference in tags.references if reference.startswith("#")} <= set(tags.ids)
    assert len(tags.ids) == len(set(tags.ids))
    assert "<h1>A &lt;title&gt;</h1>" in page
    assert "<p>yes &amp; no</p>" in page
    assert "default-src 'none'" in page
    assert '<meta name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page
    assert "parts.spectrograms" in page
    assert "parts.layers" not in page  # only scripts that are used
    assert not re.search(r"@import|url\(|<link|fetch\(|XMLHttpRequest", page)


def test_data_cannot_end_the_script() -> None:
    data = {"rows": [{"title": "</script><b>"}]}
    page = report_page("", [Section("One", kind="spectrograms", data=data)])
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == {"section-0": data}


def test_sections_that_are_too_large_are_named() -> None:
    sections = [Section("Small", "<p>short</p>"), Section("Huge", "x" * 300_000), Section("Last", "<p>end</p>")]
    page = report_page("Title", sections, max_bytes=200_000)
    assert len(page.encode()) < 200_000
    assert "<p>short</p>" in page
    assert "<p>end</p>" in page
    assert "keep this page below 0.2 MB: Huge." in page


def test_missed_rows_of_a_table_are_marked() -> None:
    text = table(("measure", "value", "result"), [("a <b", "1", "✓ met"), ("c", "2", "✗ missed")], "Bars", [1])
    assert text.count("class=missed") == 1
    assert text.startswith("<p class='caption'>Bars</p>")
    assert '<th scope="row">a &lt;b</th><td class="number">1</td>' in text


def test_numbers_are_packed_as_little_endian() -> None:
    assert packed(np.array([1, 256], dtype=">u2")) == "AQAAAQ=="
