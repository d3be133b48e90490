"""Hooks of MkDocs: linked files outside docs/ become part of the site; marks of reStructuredText are removed."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<link>(?:\.\./)+(?P<path>[^)#\s]+))(?P<anchor>[^)]*)\)")
REST = re.compile(r":(?:class|func|meth|mod|attr):(?=<code>)|(?<=Example:):(?=</p>)")  # reStructuredText in docstrings


def _target(root: Path, page: str, link: str) -> str | None:
    """Return the path of a link of a page, from the root folder; None where it is inside docs/."""
    target = (root / "docs" / page).parent.joinpath(link).resolve()
    return None if target.is_relative_to(root / "docs") else target.relative_to(root).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root folder, and the files that pages link to."""
    root = Path(config.config_file_path).parent
    links = {
        _target(root, file.src_uri, match["link"])
        for file in files.documentation_pages()
        for match in LINK.finditer(file.content_string)
    }
    for name in PAGES:
        files.append(File.generated(config, name, content=(root / name).read_text(encoding="utf-8")))
    for name in sorted(name for name in links if name is not None and name not in PAGES and (root / name).is_file()):
        files.append(File.generated(config, f"repository/{name}", abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files outside docs/ at their copies in the site; links to folders become text."""
    root, source = Path(config.config_file_path).parent, page.file.src_uri
    up = "../" * source.count("/")

    def moved(match: re.Match[str]) -> str:
        name = _target(root, source, match["link"])
        if name is None:
            return match[0]
        if name in PAGES:
            return f"[{match['text']}]({up}{name}{match['anchor']})"
        return f"[{match['text']}]({up}repository/{name})" if (root / name).is_file() else match["text"]

    if source in PAGES:  # their links start at the root folder
        return markdown.replace("](docs/", "](")
    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remove marks of reStructuredText in docstrings, such as ``:class:``."""
    return REST.sub("", html)
