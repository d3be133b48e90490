"""A cache of the Hugging Face hub, laid out as its package does, for tests without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

MAIN, OLDER = "a" * 40, "b" * 40  # commits


class HubCache:
    """A folder that takes the place of the cache.

    Args:
        folder: Where to make it.
        monkeypatch: Sets the cache, and forbids the network.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def add(self, repository: str, file: str, content: bytes, commit: str = MAIN, branch: str = "main") -> Path:
        """Add a file, under its SHA-256, and return the path of its content."""
        root = self.folder / f"models--{repository.replace('/', '--')}"
        blob = root / "blobs" / hashlib.sha256(content).hexdigest()
        pointer = root / "snapshots" / commit / file
        for path in (blob, pointer, root / "refs" / branch):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        pointer.symlink_to(blob)
        (root / "refs" / branch).write_text(commit)
        return blob
