"""Files with equal content have equal bytes, whichever process writes them and when."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from decomposition.layer import Layer
from exporters.open_raster import write_open_raster
from exporters.photoshop import write_psd
from exporters.point_cloud import write_glb, write_ply
from formats.aerial_megadepth import write_camera, write_split
from formats.exr import write_depth
from formats.images import write_png
from formats.latent_shards import LatentStatistics, write_shard
from networks.tokenizers.lapped_pca import LappedPCA

LAYERS = [
    Layer("below", np.full((16, 16, 4), 255, np.uint8), 0.0),
    Layer("above", np.pad(np.full((8, 8, 4), 200, np.uint8), ((4, 4), (4, 4), (0, 0))), 1.0),
]
POINTS = np.arange(30, dtype=np.float32).reshape(10, 3)
COLOURS = np.arange(30, dtype=np.uint8).reshape(10, 3)
IMAGE = np.arange(16 * 16 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8)


def split(path: Path) -> None:
    write_split(path, ["s"], ["a.jpg", "b.jpg"], ["s", "s"], np.array([[0, 1]]), np.array([0.5]))


WRITERS: dict[str, Callable[[Path], object]] = {
    "latents_stats.pt": LatentStatistics(torch.zeros(4), torch.ones(4)).write,
    "train.safetensors": lambda path: write_shard(path, torch.ones(2, 3, 4, 4), torch.tensor([1, 2])),
    "tokenizer.safetensors": lambda path: LappedPCA.fit([torch.arange(768).view(1, 3, 16, 16).to(torch.uint8)], 5).save(
        path
    ),
    "train.npz": split,
    "camera.npz": lambda path: write_camera(path, np.eye(3), np.eye(4)),
    "depth.exr": lambda path: write_depth(path, np.ones((4, 5), np.float32)),
    "image.png": lambda path: write_png(path, IMAGE),
    "layers.psd": lambda path: write_psd(path, LAYERS),
    "layers.ora": lambda path: write_open_raster(path, LAYERS),
    "points.ply": lambda path: write_ply(path, POINTS, COLOURS),
    "points.glb": lambda path: write_glb(path, POINTS, COLOURS),
}


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_depend_neither_on_the_process_nor_on_the_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for process, when in ((123, 1.5e9), (45678, 1.7e9)):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        monkeypatch.setattr(time, "time", lambda when=when: when)
        path = tmp_path / str(process) / name
        WRITERS[name](path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
