"""List the benchmarks, or run one: ``python -m benchmarks``, ``python -m benchmarks NAME --json out.json``."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> dict[str, str]:
    """Return the first line of the description of each benchmark, by name."""
    files = (path for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_"))
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
        for path in files
    }


def main() -> None:
    """Run the command line."""
    known, words = names(), sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, known))
        print("python -m benchmarks NAME [--json out.json] [options of the benchmark; --help lists them]\n")
        print("\n".join(f"{name:{width}}  {line}" for name, line in known.items()))
        return
    name, *options = words
    if name not in known:
        sys.exit(f"error: there is no benchmark '{name}'; choose from {', '.join(known)}")
    flags = ["--out" + word.removeprefix("--json") if word.partition("=")[0] == "--json" else word for word in options]
    sys.argv = [f"python -m benchmarks {name}", *flags]
    importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
