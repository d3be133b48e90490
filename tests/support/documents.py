"""Documents of the project, and what their code imports."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import trilight
from tests.support.commands import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def python_blocks(path: Path) -> list[str]:
    """Return the Python code of a Markdown file."""
    return PYTHON_BLOCK.findall(path.read_text(encoding="utf-8"))


def wrong_names(code: str) -> list[str]:
    """List the names of the project that code imports, or takes from ``trilight``, but that are private or missing."""
    tree = ast.parse(code)
    wrong = [
        f"trilight.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trilight"
        if node.attr not in dir(trilight)
    ]
    for module, name in _imports(tree):
        if module.partition(".")[0] not in PACKAGES:
            continue
        path = ROOT.joinpath(*module.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not source.is_file() or (name is not None and (name.startswith("_") or name not in _defined(source))):
            wrong.append(f"{module}.{name}" if name else module)
    return wrong


def missing_packages(code: str) -> list[str]:
    """List the packages that code imports and that are neither the project's nor installed."""
    packages = {module.partition(".")[0] for module, _ in _imports(ast.parse(code))} - PACKAGES
    return [name for name in sorted(packages) if importlib.util.find_spec(name) is None]


def _imports(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def _defined(path: Path) -> set[str]:
    """Return the names that a module's source defines or imports."""
    names = set[str]()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If):  # names for type checkers only, next to a lazy __getattr__
            names |= {alias.asname or alias.name for part in node.body for alias in getattr(part, "names", [])}
    return names
