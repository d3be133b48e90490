"""Save checkpoints until killed at a random moment, again and again; count what is left.

``python -m tests.support.kill_saves FOLDER KIND ROUNDS SEED MEGABYTES`` prints counts as JSON. ``KIND`` is ``atomic``
for this project's writer and ``lightning`` for Lightning's, which writes to the temporary folder first.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from callbacks.checkpoint_io import AtomicCheckpointIO
from formats.atomic import remove_unfinished
from networks.shipped_weights import REQUIRED, save_shipped

KINDS: dict[str, Callable[[dict[str, Any], Path], object]] = {
    "atomic": lambda content, path: AtomicCheckpointIO().save_checkpoint(content, path),
    "lightning": lambda content, path: TorchCheckpointIO().save_checkpoint(content, path),
    "safetensors": lambda content, path: save_shipped(
        "last", {"a": content["a"]}, dict.fromkeys(REQUIRED, "x"), path.parent
    ),
}


def save_until_killed(path: Path, kind: str, megabytes: int) -> None:
    """Save checkpoints whose tensors are constant, so that a mixture of two is noticed."""
    for number in range(1_000_000):
        KINDS[kind]({"a": torch.full((megabytes * 250_000,), float(number))}, path)


def outcome(path: Path) -> str:
    """Return ``whole``, ``missing`` or ``broken``."""
    if not path.is_file():
        return "missing"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            values = load_file(path)["a"]
        else:
            values = torch.load(path, weights_only=True)["a"]
        return "whole" if len(values) and bool((values == values[0]).all()) else "broken"
    except Exception:  # a broken file can raise nearly anything
        return "broken"


def main(folder: Path, kind: str, rounds: int, seed: int, megabytes: int) -> None:
    """Kill the writer in each round, and print the outcomes."""
    torch.set_num_threads(1)
    rng, counts = random.Random(seed), Counter[str]()
    path = folder / ("last.safetensors" if kind == "safetensors" else "last.ckpt")
    start = time.monotonic()
    KINDS[kind]({"a": torch.zeros(megabytes * 250_000)}, path)
    duration = time.monotonic() - start
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            save_until_killed(path, kind, megabytes)
        time.sleep(rng.uniform(0.1, 3) * duration)  # while the first to third checkpoint is written
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counts[outcome(path)] += 1
        counts["temporary files"] += len(list(folder.iterdir())) - (2 if kind == "safetensors" else 1)
        remove_unfinished(folder)
        counts["left for ever"] += len(list(folder.iterdir())) - (2 if kind == "safetensors" else 1)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
