"""Training checkpoints in one file with a checksum.

A checkpoint is the zip archive that ``torch.save`` writes. Its comment, which PyTorch ignores, holds the CRC-32 of all
bytes before the field with the comment's length, so that ``torch.load`` reads the file as any other. CRC-32 finds
accidental damage, at 3 GB/s; SHA-256 would add half a minute to saving 10 GB.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, cast

import torch

from formats.atomic import atomic_path
from formats.errors import InputError

LABEL = b"crc32:"
COMMENT_LENGTH = len(LABEL) + 8
TAIL = 2 + COMMENT_LENGTH  # the length of the comment, 16 bits, comes first
CHUNK = 1 << 24


class _ChecksummedFile:
    """A file whose checksum is computed while it is written, so that a checkpoint need not be in memory twice."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.checksum = file, 0
        self.held = b""  # the last two bytes, which the length of the comment replaces

    def write(self, data: Any) -> int:
        """Write bytes or another buffer."""
        written = self.file.write(data)
        view = memoryview(data).cast("B")
        if len(view) < 2:
            view, self.held = memoryview(self.held + view), b""
        self.checksum = zlib.crc32(view[:-2], zlib.crc32(self.held, self.checksum))
        self.held = bytes(view[-2:])
        return written

    def flush(self) -> None:
        """Write what is buffered."""
        self.file.flush()


def save_checkpoint(content: Any, path: Path) -> None:
    """Write a checkpoint with its checksum: next to ``path``, then to the disk, then renamed.

    Raises:
        InputError: The disk is full, or the folder cannot be written.
    """
    with atomic_path(path, sync=True) as temporary, temporary.open("wb") as file:
        checksummed = _ChecksummedFile(file)
        torch.save(content, cast(IO[bytes], checksummed))  # it needs `write` and `flush` only
        file.seek(-2, 2)
        file.write(struct.pack("<H", COMMENT_LENGTH) + LABEL + f"{checksummed.checksum:08x}".encode())


def check_checkpoint(path: Path) -> None:
    """Compare a checkpoint with its checksum, or a file that has none with the checksums of the archive's entries.

    Raises:
        InputError: The file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(path, "no such checkpoint", "Give --ckpt_path the path of a .ckpt file.")
    if not _is_whole(path):
        raise InputError(path, "is damaged or not a checkpoint: its checksum differs", "Use another checkpoint.")


def newest_whole(paths: Iterable[Path]) -> tuple[Path | None, list[Path]]:
    """Return the first undamaged checkpoint of ``paths``, and the damaged ones before it."""
    damaged: list[Path] = []
    for path in paths:
        if _is_whole(path):
            return path, damaged
        damaged.append(path)
    return None, damaged


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        tail = file.read()
        if tail[: 2 + len(LABEL)] == struct.pack("<H", COMMENT_LENGTH) + LABEL:
            checksum, left = 0, size - TAIL
            file.seek(0)
            while left:
                chunk = file.read(min(left, CHUNK))
                checksum = zlib.crc32(chunk, checksum)
                left -= len(chunk)
            return f"{checksum:08x}".encode() == tail[2 + len(LABEL) :]
        try:
            return zipfile.ZipFile(file).testzip() is None
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
            return False
