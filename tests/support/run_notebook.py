"""Run the code cells of a notebook in the current folder, each after the other, in one namespace."""

import json
import sys
from pathlib import Path

namespace: dict[str, object] = {"__name__": "__main__"}
for cell in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"{Path(sys.argv[1]).name}, {cell['id']}", "exec"), namespace)
