"""Links, anchors and code of the documents."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.support.commands import ROOT
from tests.support.documents import DOCUMENTS, python_blocks, wrong_names

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text_without_code(path: Path) -> str:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors of headings, which GitHub and MkDocs form alike."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(path: Path, root: Path = ROOT) -> list[str]:
    broken = []
    for link in LINK.findall(text_without_code(path)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or not target.is_relative_to(root) or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_anchors_exist(path: Path) -> None:
    assert not broken_links(path)


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](#a-page) [b](#b) [c](c.md) [d](https://e.org) `[f](f.md)` [g](/)\n")
    assert broken_links(page, tmp_path) == ["#b", "c.md", "/"]
    assert "the-over-fit-test" in anchors(ROOT / "docs" / "pair.md")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_uses_public_names(path: Path) -> None:
    if path.name == "CONTRIBUTING.md":
        return  # its examples add modules; they are built and run by test_contributing.py
    for code in python_blocks(path):
        assert not wrong_names(code)


def test_every_page_is_in_the_navigation() -> None:
    """Pages that the built site does not list cannot be found in it."""
    settings = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/]+\.md", yaml.safe_dump(yaml.safe_load(settings)["nav"])))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed


def test_the_reference_names_what_exists() -> None:
    """Every ``::: module.name`` of the reference, and every public class, is there."""
    named = re.findall(
        r"^::: ([\w.]+)$", "\n".join(p.read_text() for p in (ROOT / "docs/reference").glob("*.md")), re.M
    )
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert not wrong_names(f"from {module} import {attribute}"), name
    import trilight

    public = {name for name in dir(trilight) if not name.startswith("_") and hasattr(trilight, name)}
    public = {name for name in public if callable(getattr(trilight, name))} - {"Any"}
    assert public <= {name.rpartition(".")[2] for name in named}
