"""One HTML page of sections, with styles, scripts, images and data in it.

The page loads nothing: its content security policy forbids connections. A section may have a part that a script of this
folder draws, such as ``layers.js``.

Example::

    sections = [Section("Losses", curves(rows)), Section("Layers of cat", kind="layers", data={...})]
    write_text("report.html", report_page("Layers of 1 image", sections))
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_BYTES = 5_000_000  # of a page, so that it can be sent
Kind = Literal["", "layers", "scene", "spectrograms"]

_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Section:
    """Section of a report.

    Attributes:
        title: Heading.
        body: HTML below the heading; texts in it are escaped by the caller.
        kind: Script that draws the rest of the section; "" for none.
        data: What the script draws: plain values.
        after: HTML below that.
        first: Whether the section is a result, which precedes curves and metrics.
    """

    title: str
    body: str = ""
    kind: Kind = ""
    data: Mapping[str, Any] | None = None
    after: str = ""
    first: bool = False


def report_page(title: str, sections: Sequence[Section], summary: str = "", max_bytes: int = MAX_BYTES) -> str:
    """Return the page; sections that would make it larger than ``max_bytes`` are left out and named.

    Args:
        title: Heading of the page.
        sections: In the order of the page.
        summary: Line below the heading.
        max_bytes: Largest size in bytes.
    """
    blocks, data, links = list[str](), dict[str, Any](), list[str]()
    kinds = {section.kind for section in sections if section.kind}
    scripts = "\n".join(_asset(f"{name}.js") for name in ["base", *sorted(kinds), "start"])
    left, omitted = max_bytes - len(scripts) - len(_asset("style.css")) - 20_000, list[str]()
    for number, section in enumerate(sections):
        name = f"section-{number}"
        block, content = _block(name, section), _as_json(section.data) if section.data is not None else ""
        size = len(block.encode()) + len(content.encode())
        if size > left:
            omitted.append(section.title)
            continue
        left -= size
        blocks.append(block)
        links.append(f'<a href="#{name}">{escape(section.title)}</a>')
        if content:
            data[name] = section.data
    if omitted:
        names = escape(", ".join(omitted))
        blocks.append(f"<p class='note'>Left out, to keep this page below {max_bytes / 1e6:g} MB: {names}.</p>")
    head = (
        f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n<title>{escape(title)}</title>\n'
        f"<style>\n{_asset('style.css')}</style>"
    )
    contents = f'<nav aria-label="Sections">{" ".join(links)}</nav>' if len(links) > 2 else ""
    body = "\n".join([f"<h1>{escape(title)}</h1>", f"<p>{escape(summary)}</p>" if summary else "", contents, *blocks])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n<main>\n{body}\n</main>\n'
        f'<script type="application/json" id="data">{_as_json(data)}</script>\n<script>\n{scripts}</script>\n'
        "</body>\n</html>\n"
    )


def _block(name: str, section: Section) -> str:
    drawn = f'<div class="drawn" data-kind="{section.kind}" data-of="{name}"></div>' if section.kind else ""
    return f'<section id="{name}">\n<h2>{escape(section.title)}</h2>\n{section.body}{drawn}{section.after}\n</section>'


def _as_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # ends no script element


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def image_uri(image: NDArray[np.uint8], max_side: int = 1600, lossless: bool = False) -> str:
    """Encode an image (H, W, 3 or 4) as a data URI.

    Args:
        image: uint8, RGB or RGBA.
        max_side: Larger images are reduced to this side.
        lossless: PNG rather than WebP of high quality.
    """
    picture = Image.fromarray(image)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    with io.BytesIO() as file:
        if lossless:
            picture.save(file, "PNG")
        else:
            picture.save(file, "WEBP", quality=88, method=2)
        return f"data:image/{'png' if lossless else 'webp'};base64,{base64.b64encode(file.getvalue()).decode()}"


def packed(values: NDArray[Any]) -> str:
    """Encode numbers as little-endian base64, which ``unpack`` of ``base.js`` reads."""
    return base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()


def figure(caption: str, image: NDArray[np.uint8]) -> str:
    """Return an image with its caption as HTML."""
    text = escape(caption)
    return f'<figure><figcaption>{text}</figcaption><img alt="{text}" src="{image_uri(image)}"></figure>\n'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", numbers: Sequence[int] = ()) -> str:
    """Return a table as HTML, which scrolls on a narrow screen.

    Args:
        header: Name of each column; the first cell of a row is its heading.
        rows: Cells of each row; a cell that begins with ``✗`` emphasises its row.
        caption: Text above the table.
        numbers: Places of the columns that are aligned to the right.
    """

    def cell(tag: str, place: int, text: str, more: str = "") -> str:
        aligned = ' class="number"' if place in numbers else ""
        return f"<{tag}{more}{aligned}>{escape(text)}</{tag}>"

    lines = ["<tr>" + "".join(cell("th", place, text, ' scope="col"') for place, text in enumerate(header)) + "</tr>"]
    for row in rows:
        cells = [
            cell("td" if place else "th", place, text, "" if place else ' scope="row"')
            for place, text in enumerate(row)
        ]
        lines.append(f"<tr{' class=missed' if any(text.startswith('✗') for text in row) else ''}>{''.join(cells)}</tr>")
    title = f"<p class='caption'>{escape(caption)}</p>" if caption else ""
    label = escape(caption or header[0])
    content = f"<table>{''.join(lines)}</table>"
    return f'{title}<div class="wide" tabindex="0" role="region" aria-label="{label}">{content}</div>\n'
