"""Locks of output folders, so that two processes do not write to one."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from formats.disk_faults import disk_fault
from formats.errors import InputError

NAME = ".lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def locked(folder: Path, name: str = NAME) -> Iterator[None]:
    """Hold a folder for this process; the system releases it should the process die.

    A missing folder and missing parents are created, and removed again if they are still empty. On file systems
    without locks, folders are not protected.

    Args:
        folder: Folder for the lock's file.
        name: Name of the lock's file.

    Raises:
        InputError: Another process holds the folder, or it cannot be created.
    """
    descriptor = None
    try:
        created = [part for part in (folder, *folder.parents) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder / name)
    except OSError as fault:
        raise disk_fault(fault, folder) or fault from fault
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
            os.close(descriptor)
        with suppress(OSError):  # not empty
            for part in created:
                part.rmdir()


def _acquire(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return descriptor
        except BlockingIOError:
            owner = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            os.close(descriptor)
            remedy = "Wait until it has ended, or choose another folder."
            raise InputError(path.parent, f"is in use by {owner or 'another process'}", remedy) from None
        except OSError as fault:
            os.close(descriptor)
            if fault.errno in UNSUPPORTED:
                return None
            raise
        os.close(descriptor)  # its owner removed the file in between


def _is_same(descriptor: int, path: Path) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
