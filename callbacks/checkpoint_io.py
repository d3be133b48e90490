"""Writing and reading of training checkpoints that survives kills, full disks and damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins.io import TorchCheckpointIO

from formats.checkpoint_checksum import check_checkpoint, save_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints next to their target, to the disk, then rename; compare them with their checksum on reading.

    Lightning writes to the temporary folder and moves the file, which copies it where that folder is on another file
    system: a kill during the copy leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write a checkpoint; the previous file of that name stays until the new one is complete.

        Raises:
            InputError: The disk is full, or the folder cannot be written.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: _PATH, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, on the CPU by default.

        Raises:
            InputError: The file is missing or damaged.
        """
        if "://" not in str(path):
            check_checkpoint(Path(path))
        location = map_location or (lambda storage, place: storage)
        return super().load_checkpoint(path, location, weights_only)
