"""Run the code cells of a notebook in the current folder, each after the other, in one namespace."""

import json
import sys
from pathlib import Path


def run(path: Path) -> None:
    """Run the cells of a notebook as a script."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), namespace)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
