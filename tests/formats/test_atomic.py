"""Atomic writes of files."""

import stat
from pathlib import Path

import pytest

from formats.atomic import atomic_path, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "old")

    def broken() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        broken()
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_file_permissions_follow_the_umask(tmp_path: Path) -> None:
    def private(path: Path) -> None:
        with atomic_path(path) as temporary:
            temporary.touch(mode=0o600)

    private(tmp_path / "shard")
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("shard", "plain")]
    assert modes[0] == modes[1]


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"user": "Ø", "n": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "user": "Ø",\n  "n": [\n    1\n  ]\n}\n'
