"""Run a function in two processes that communicate through gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes


def results_of_two(function: Callable[[int], object], folder: Path) -> list[Any]:
    """Return the results of ``function(0)`` and ``function(1)``, each from a process of its group.

    Args:
        function: Function of a module, so that it can be pickled; its results must load with ``weights_only=True``.
        folder: Empty folder for the meeting point and the results.
    """
    # Forks, since a new interpreter would need seconds to import torch.
    start_processes(_process, (function, folder), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def _process(rank: int, function: Callable[[int], object], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(function(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()
