"""The checkpoint that ``--ckpt_path`` means: a path, or ``last``, ``best`` or ``hpc`` of a configuration's runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from formats.errors import InputError
from formats.torch_files import first_undamaged

WITHOUT_LOGGER = "checkpoints/*.ckpt"  # or in the folders of earlier runs, which had one
WORDS = ("last", "best", "hpc")
BEGIN = "Name a .ckpt file, or leave --ckpt_path out to start from the beginning."


def is_word(value: Any) -> bool:
    """Return whether ``--ckpt_path`` is a word rather than a path.

    Raises:
        InputError: It names a model registry.
    """
    if isinstance(value, str) and re.match(r"registry(:|$)", value):
        raise InputError("--ckpt_path", f"{value!r}: model registries are not supported", "Name a .ckpt file.")
    return value in WORDS


def checkpoint_of_runs(word: str, trainer: Namespace) -> Path:
    """Return the newest undamaged checkpoint that a word means.

    Args:
        word: ``last`` is the newest ``last*.ckpt`` of all runs of the configuration, ``best`` the newest
            ``best*.ckpt`` of its newest run, and ``hpc`` what Slurm's signal saved.
        trainer: Settings of the trainer, whose first logger determines where runs are kept.

    Raises:
        InputError: There is no such checkpoint.
    """
    root = Path(trainer.default_root_dir or ".")
    if word == "hpc":
        candidates = sorted(root.glob("hpc_ckpt_*.ckpt"), key=_number, reverse=True)
        return _first_whole(word, candidates, f"{root}/hpc_ckpt_*.ckpt")
    base, pattern = _runs(root, trainer.logger)
    files = list(base.glob(pattern)) or (list(base.glob(f"*/{pattern}")) if pattern == WITHOUT_LOGGER else [])
    found = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    if word == "best":
        newest = [path for path in found if path.parent == found[0].parent and path.name.startswith("best")]
        return _first_whole(word, newest, f"the newest run of {base}")
    last = [path for path in found if path.name.startswith("last")]
    others = [path for path in found if path not in last] if last else []
    return _first_whole(word, [*last[:1], *sorted([*last[1:], *others], key=found.index)], str(base))


def undamaged(path: Path) -> Path:
    """Return a checkpoint to go on from: the one given, or the newest undamaged one of its folder.

    Raises:
        InputError: All of them are damaged.
    """
    if not path.is_file():
        return path
    others = [other for other in path.parent.glob("*.ckpt") if other != path]
    by_age = sorted(others, key=lambda other: other.stat().st_mtime, reverse=True)
    return _first_whole(str(path), [path, *by_age], str(path.parent))


def _runs(root: Path, logger: Any) -> tuple[Path, str]:
    """Return the folder of a configuration's runs, and the pattern of their checkpoints."""
    first = logger[0] if isinstance(logger, list) and logger else logger
    if not first and first is not None:
        return root, WITHOUT_LOGGER
    if first is None or first is True:
        return root / "lightning_logs", "*/checkpoints/*.ckpt"
    arguments = first.init_args
    folder = arguments.get("save_dir") or arguments.get("dir") or root
    name = arguments.get("name") if "version" in arguments and arguments.get("name") else arguments.get("project")
    version = arguments.get("version")
    run = "*" if version is None else f"version_{version}" if isinstance(version, int) else str(version)
    return Path(folder) / str(name or ""), f"{run}/checkpoints/*.ckpt"


def _first_whole(asked: str, candidates: Iterable[Path], where: str) -> Path:
    path, damaged = first_undamaged(candidates)
    if path is None and damaged:
        raise InputError(damaged[0], "is damaged, and so are the other checkpoints of its runs", BEGIN)
    if path is None:
        raise InputError("--ckpt_path", f"{asked!r}: there is no such checkpoint in {where}", BEGIN)
    if "LOCAL_RANK" not in os.environ:  # else the first process has said it
        for each in damaged:
            print(f"warning: {each} is damaged; {path} is the newest checkpoint that is not", file=sys.stderr)
        if str(path) != asked:
            print(f"--ckpt_path {asked}: {path}", file=sys.stderr)
    return path


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.stem)
    return int(found[0]) if found else 0
