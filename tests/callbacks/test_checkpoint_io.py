"""Training checkpoints: readable by PyTorch itself, and damage of any kind is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from callbacks.checkpoint_io import AtomicCheckpointIO
from formats.errors import InputError

CONTENT: dict[str, Any] = {"state_dict": {"a": torch.arange(5000.0), "b": torch.zeros(0)}, "step": 7, "name": "é"}


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_the_file_without_running_code(tmp_path: Path, mmap: bool) -> None:
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "a.ckpt")
    read = torch.load(tmp_path / "a.ckpt", weights_only=True, mmap=mmap)
    assert read["step"] == 7
    assert all(torch.equal(read["state_dict"][name], value) for name, value in CONTENT["state_dict"].items())


def test_files_of_lightning_are_accepted(tmp_path: Path) -> None:
    TorchCheckpointIO().save_checkpoint(CONTENT, tmp_path / "a.ckpt")
    read = AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert torch.equal(read["state_dict"]["a"], CONTENT["state_dict"]["a"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.ckpt: no such checkpoint\. Give --ckpt_path"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")


def test_damage_is_found(tmp_path: Path) -> None:
    """100 flipped bits in a tensor, 20 cuts, and an empty file."""
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    start = whole.index(torch.arange(5000.0).numpy().tobytes())
    damaged = [whole[:size] for size in (0, *rng.integers(1, len(whole) - 1, 20))]
    for place in rng.integers(start, start + 20_000, 100):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(changed))
    for number, content in enumerate(damaged):
        other = tmp_path / f"{number}.ckpt"
        other.write_bytes(content)
        with pytest.raises(InputError, match=r"\d\.ckpt: is damaged"):
            AtomicCheckpointIO().load_checkpoint(other, weights_only=True)
