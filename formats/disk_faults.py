"""Faults of disks and folders in plain words."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from formats.errors import InputError

AGAIN = "Make space, and run the same command again."
ELSEWHERE = "Change its permissions, or choose another folder."
IN_THE_WAY = "Remove or rename it, or choose another folder."
FAULTS = {
    errno.ENOSPC: ("cannot be written: no space left on the disk", AGAIN),
    errno.EDQUOT: ("cannot be written: the disk quota is used up", AGAIN),
    errno.EFBIG: ("cannot be written: larger than the limit for files", "Raise the limit, see `ulimit -f`."),
    errno.EROFS: ("cannot be written: the file system is read-only", "Choose another folder."),
    errno.EACCES: ("permission denied", ELSEWHERE),
    errno.EPERM: ("permission denied", ELSEWHERE),
    errno.ENOTDIR: ("is a file where a folder should be", IN_THE_WAY),
    errno.EEXIST: ("is a file where a folder should be", IN_THE_WAY),
    errno.EISDIR: ("is a folder where a file should be", IN_THE_WAY),
    errno.EIO: ("input/output error", "Check the disk."),
}
SMALLEST_FREE = 1 << 20  # bytes


def disk_fault(fault: BaseException, target: Path) -> InputError | None:
    """Explain an error that a disk or folder caused.

    Libraries hide the operating system's error in their own: in a chained exception, in the text (safetensors), or
    not at all (the C++ writers of PyTorch and OpenEXR). In the last case a disk without free space is the cause.

    Args:
        fault: Exception raised while writing.
        target: File or folder that was being written; named where the exception does not name another path.

    Returns:
        The error to show; None if the exception has another cause.
    """
    if isinstance(fault, InputError):
        return None
    for part in chain(fault):
        number = part.errno if isinstance(part, OSError) else _number_in(str(part))
        if number in FAULTS:
            named = part.filename2 or part.filename if isinstance(part, OSError) else None  # a copy's second is written
            path = Path(named) if isinstance(named, str) and ".partial" not in named else target
            return InputError(_obstacle(path) or path, *FAULTS[number])
    if isinstance(fault, RuntimeError) and _is_full(target):
        return InputError(target, *FAULTS[errno.ENOSPC])
    return None


def chain(fault: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from or during."""
    part: BaseException | None = fault
    while part is not None:
        yield part
        part = part.__cause__ or part.__context__


def _number_in(text: str) -> int | None:
    found = re.search(r"\(os error (\d+)\)", text) or re.search(r"\[Errno (\d+)\]", text)
    return int(found[1]) if found else None


def _obstacle(path: Path) -> Path | None:
    """Return the part of a path that is a file although folders should follow, or None."""
    return next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None)


def _is_full(target: Path) -> bool:
    folder = next((parent for parent in (target, *target.absolute().parents) if parent.is_dir()), None)
    return folder is not None and shutil.disk_usage(folder).free < SMALLEST_FREE
