"""Writing and reading of training checkpoints that survives kills, full disks and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from formats.atomic import atomic_path
from formats.local_files import require_file
from formats.torch_files import verify_archive


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints next to their target, to the disk, then rename; compare their checksums on reading.

    Lightning writes to the temporary folder and moves the file, which copies it where that folder is on another file
    system: a kill during the copy leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; the previous file of that name stays until the new one is complete.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_path(Path(path), sync=True) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)  # given a path, it would store the temporary name

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a local checkpoint, on the CPU by default.

        Raises:
            InputError: The file is missing or damaged.
        """
        verify_archive(
            require_file(path, "Give --ckpt_path the path of a .ckpt file.", "no such checkpoint"),
            "Use another checkpoint.",
        )
        location = map_location or (lambda storage, place: storage)
        return super().load_checkpoint(path, location, weights_only)
