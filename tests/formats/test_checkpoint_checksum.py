"""Checkpoints with a checksum: readable by PyTorch, and damage of any kind is found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from formats.checkpoint_checksum import TAIL, check_checkpoint, newest_whole, save_checkpoint
from formats.errors import InputError

CONTENT: dict[str, Any] = {"state_dict": {"a": torch.arange(5000.0), "b": torch.zeros(0)}, "step": 7, "name": "é"}


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_the_file_without_running_code(tmp_path: Path, mmap: bool) -> None:
    save_checkpoint(CONTENT, tmp_path / "a.ckpt")
    read = torch.load(tmp_path / "a.ckpt", weights_only=True, mmap=mmap)
    assert read["step"] == 7
    assert all(torch.equal(read["state_dict"][name], value) for name, value in CONTENT["state_dict"].items())


def test_files_of_torch_itself_are_accepted(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "a.ckpt")
    check_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("save", [save_checkpoint, torch.save])
def test_damage_is_found(tmp_path: Path, save: Any) -> None:
    """Each kind of file with 100 flipped bits in its tensors, cut at 20 places, emptied and extended."""
    path = tmp_path / "a.ckpt"
    save(CONTENT, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    start = whole.index(torch.arange(5000.0).numpy().tobytes())
    damaged = [whole[:size] for size in (0, *rng.integers(1, len(whole) - 1, 20))]
    for place in rng.integers(start, start + 20_000, 100):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(changed))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.ckpt: is damaged"):
            check_checkpoint(path)


def test_bytes_outside_of_tensors_count_too(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_checkpoint({"a": torch.zeros(3)}, path)
    whole = path.read_bytes()
    for place in range(0, len(whole) - TAIL, 11):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(InputError, match="is damaged"):
            check_checkpoint(path)


def test_the_first_undamaged_file_is_found(tmp_path: Path) -> None:
    for name in "abc":
        save_checkpoint(CONTENT, tmp_path / name)
    os.truncate(tmp_path / "a", 1000)
    assert newest_whole([tmp_path / name for name in "abc"]) == (tmp_path / "b", [tmp_path / "a"])
    assert newest_whole([tmp_path / "a"]) == (None, [tmp_path / "a"])
