"""Atomic writes: a reader finds either the complete old file or the complete new one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from formats.disk_faults import disk_fault

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
TEMPORARY = re.compile(r"\..*\.(?P<host>[0-9a-f]{6})-(?P<pid>\d+)\.partial(\..*)?")
SECONDS_OF_OTHER_HOSTS = 24 * 3600  # whether their processes are alive is not known
_cleaned: set[Path] = set()


@contextmanager
def atomic_path(path: str | Path, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder that is renamed to ``path`` when the block succeeds.

    The temporary name keeps the suffix, since many writers choose their format by it. If the block raises, the
    temporary file is removed and ``path`` is unchanged. Missing parent folders are created. Temporary files that
    killed processes left in the folder are removed when a process first writes to it.

    Args:
        path: The file to write.
        sync: Write to the disk before renaming, so that the file is complete after a power failure too.

    Raises:
        InputError: The disk is full, or the folder cannot be written.

    Example::

        with atomic_path("latents/train.safetensors", sync=True) as temporary:
            temporary.write_bytes(save(tensors))
    """
    path = Path(path)
    temporary = temporary_path(path, os.getpid())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean_once(path.parent)
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers create files that only the owner may read
        if sync:
            _sync(temporary)
        temporary.replace(path)
        if sync:
            _sync(path.parent)
    except Exception as fault:
        explained = disk_fault(fault, path)
        if explained is None:
            raise
        raise explained from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path, pid: int) -> Path:
    """Return the path under which a process of this machine writes a file before renaming it."""
    return path.with_name(f".{path.stem}.{HOST}-{pid}.partial{path.suffix}")


def remove_unfinished(folder: Path) -> list[Path]:
    """Remove the temporary files that killed processes left in a folder.

    Files of running processes stay, and those of other machines unless they are older than a day.

    Returns:
        The removed files.
    """
    removed = []
    for path in folder.glob(".*.partial*"):
        owner = TEMPORARY.fullmatch(path.name)
        with suppress(OSError):  # its owner may be removing it too
            if owner and not _is_in_use(path, owner["host"], int(owner["pid"])):
                path.unlink()
                removed.append(path)
    return removed


def _clean_once(folder: Path) -> None:
    folder = folder.absolute()
    if folder not in _cleaned:  # listing a large folder before each file would take long
        _cleaned.add(folder)
        remove_unfinished(folder)


def _is_in_use(path: Path, host: str, pid: int) -> bool:
    if host != HOST:
        return time.time() - path.stat().st_mtime < SECONDS_OF_OTHER_HOSTS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically."""
    with atomic_path(path, sync=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON to ``path`` atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
