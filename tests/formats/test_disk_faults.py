"""Full disks and folders that cannot be written end in an error that names the file and the remedy."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from formats.atomic import HOST, atomic_path, remove_unfinished, temporary_path, write_text
from formats.disk_faults import disk_fault
from formats.errors import InputError
from tests.support.commands import ROOT


def raises(error: BaseException) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    return write


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "file.bin: cannot be written: no space left on the disk"),
        (RuntimeError("Error while serializing: I/O error: No space left (os error 28)"), "no space left on the disk"),
        (OSError(errno.ENOSPC, "No space left on device", "source", None, "x.partial"), "file.bin: cannot be written"),
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "other.png"), "other.png: permission denied"),
    ],
)
def test_errors_of_the_disk_are_explained_and_the_old_file_stays(
    tmp_path: Path, error: BaseException, message: str
) -> None:
    write_text(tmp_path / "file.bin", "old")
    with pytest.raises(InputError, match=message), atomic_path(tmp_path / "file.bin") as temporary:
        raises(error)(temporary)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file.bin": "old"}


def test_a_writer_that_hides_the_cause_failed_because_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert disk_fault(error, tmp_path / "a.pt") is None
    usage = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    fault = disk_fault(error, tmp_path / "new" / "a.pt")
    assert fault is not None
    assert str(fault).startswith(f"{tmp_path}/new/a.pt: cannot be written: no space left on the disk. Make space")


@pytest.mark.parametrize("error", [ValueError("wrong"), FileNotFoundError(errno.ENOENT, "no such file", "input.png")])
def test_other_errors_pass_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "a") as temporary:
        raises(error)(temporary)
    assert caught.value is error


@pytest.mark.parametrize("path", ["file/a.txt", "file/deep/er/a.txt"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=rf"^{tmp_path}/file: is a file where a folder should be"):
        write_text(tmp_path / path, "new")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_where_the_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a\.txt: is a folder where a file should be"):
        write_text(tmp_path / "a.txt", "new")


def finished_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_files_of_killed_processes_are_removed_by_the_next_write(tmp_path: Path) -> None:
    dead = temporary_path(tmp_path / "image.png", finished_pid())
    alive = temporary_path(tmp_path / "image.png", os.getppid())
    elsewhere = tmp_path / ".image.ffffff-1.partial.png"
    old = tmp_path / ".old.ffffff-1.partial.png"
    foreign = tmp_path / ".mine.partial.png"
    for path in (dead, alive, elsewhere, old, foreign):
        path.touch()
    os.utime(old, (0, 0))
    write_text(tmp_path / "other.txt", "")
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, elsewhere.name, foreign.name, "other.txt"}


def test_a_process_killed_while_writing_leaves_the_old_file_and_what_the_next_one_removes(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "old")
    code = (
        "import os, signal\n"
        "from formats.atomic import atomic_path\n"
        f"with atomic_path({str(tmp_path / 'file.txt')!r}) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "file.txt").read_text() == "old"
    (left,) = remove_unfinished(tmp_path)
    assert left.name.startswith(f".file.{HOST}-")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def write_long_text(path: Path) -> None:
    path.write_text("a" * 800_000)


WRITERS: dict[str, Callable[[Path], None]] = {
    "PyTorch": lambda path: torch.save({"a": torch.zeros(200_000)}, path),
    "safetensors": lambda path: save_file({"a": torch.zeros(200_000)}, path),
    "PNG": lambda path: Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)).save(path),
    "EXR": lambda path: OpenEXR.File({}, {"Y": np.random.default_rng(0).random((512, 512), dtype=np.float32)}).write(
        str(path)
    ),
    "NumPy": lambda path: np.savez(path, a=np.zeros(200_000)),
    "text": write_long_text,
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("writer", list(WRITERS))
def test_a_full_disk_is_named_for_every_writer(small_disk: Path, writer: str) -> None:
    path = small_disk / "file.png" if writer == "PNG" else small_disk / "file.npz"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=rf"^{path}: cannot be written: no space left"), atomic_path(path) as temporary:
        WRITERS[writer](temporary)
    assert {entry.name: entry.read_bytes() for entry in small_disk.iterdir()} == {path.name: b"old"}


def test_a_read_only_file_system_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for path in (small_disk / "a.txt", small_disk / "b" / "a.txt"):
        with pytest.raises(InputError, match="the file system is read-only"):
            write_text(path, "new")
