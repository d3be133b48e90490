"""Reports as Markdown with image files, and as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from formats.atomic import write_text
from formats.images import write_png

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.marked { background: #fde8e4; font-weight: 600; }
img { max-width: 100%; }
figure { margin: 1.5rem 0; }
"""


@dataclass(frozen=True)
class Heading:
    """Heading of a section; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Paragraph, optionally in bold."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Bullets:
    """List of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Table of texts.

    Args:
        header: Name of each column.
        rows: Cells of each row.
        numbers: Places of the columns that are aligned to the right.
        marked: Places of the rows that are emphasised.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """Image (H, W, 3) uint8 with its caption, and the stem of its file."""

    caption: str
    image: NDArray[np.uint8]
    stem: str


Block = Heading | Paragraph | Bullets | Table | Figure


def file_stem(caption: str) -> str:
    """Return the stem of a file name for a caption.

    Example:
        >>> file_stem("Point cloud, view 1")
        'point_cloud_view_1'
    """
    return re.sub(r"[^a-z0-9]+", "_", caption.lower()).strip("_")


def write_document(folder: Path, name: str, blocks: Sequence[Block]) -> Path:
    """Write ``<name>.md`` with its PNG images, and ``<name>.html`` with the images in it.

    Args:
        folder: The folder, created if missing; files of an earlier document are replaced.
        name: Stem of both files.
        blocks: Content; the first one is the title.

    Returns:
        Path of the Markdown file.
    """
    for block in blocks:
        if isinstance(block, Figure):
            write_png(folder / f"{block.stem}.png", block.image)
    write_text(folder / f"{name}.html", to_html(blocks))
    path = folder / f"{name}.md"
    write_text(path, to_markdown(blocks))  # last, so that its links are valid
    return path


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the blocks as Markdown that links ``<stem>.png``."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, bold):
            return f"**{text}**" if bold else text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Figure(caption, _, stem):
            return f"{caption}\n\n![{caption}]({stem}.png)"
        case Table(header, rows, numbers, marked):
            lines = [_row(header), "|".join(["", *("---:" if n in numbers else "---" for n in range(len(header))), ""])]
            for place, row in enumerate(rows):
                cells = [cell.replace("|", "\\|") for cell in row]
                lines.append(_row([f"**{cell}**" if cell else "" for cell in cells] if place in marked else cells))
            return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_html(blocks: Sequence[Block]) -> str:
    """Return the blocks as one HTML page, which loads nothing."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>\n{STYLE}</style>'
    body = "\n".join(_html(block) for block in blocks)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, bold):
            return f"<p><strong>{_inline(text)}</strong></p>" if bold else f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "\n".join(["<ul>", *(f"<li>{_inline(item)}</li>" for item in items), "</ul>"])
        case Figure(caption, image, _):
            element = f'<img alt="{escape(caption)}" src="data:image/png;base64,{_base64(image)}">'
            return f"<figure><figcaption>{escape(caption)}</figcaption>{element}</figure>"
        case Table(header, rows, numbers, marked):
            lines = ["<table>", _html_row("th", header, numbers)]
            for place, row in enumerate(rows):
                lines.append(_html_row("td", row, numbers, ' class="marked"' if place in marked else ""))
            return "\n".join([*lines, "</table>"])


def _html_row(tag: str, cells: Sequence[str], numbers: frozenset[int], mark: str = "") -> str:
    kinds = [' class="number"' if place in numbers else "" for place in range(len(cells))]
    texts = [f"<{tag}{kind}>{_inline(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)]
    return f"<tr{mark}>{''.join(texts)}</tr>"


def _inline(text: str) -> str:
    """Escape a text, in which `code` may occur."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _base64(image: NDArray[np.uint8]) -> str:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode("ascii")
