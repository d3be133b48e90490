"""Depth in OpenEXR comes back exactly, whatever the channel and compression, and broken files are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from formats.errors import InputError
from formats.exr import read_depth, write_depth

DEPTH = np.random.default_rng(0).uniform(0, 300, (37, 50)).astype(np.float32)
LOSSLESS = ["NO_COMPRESSION", "RLE_COMPRESSION", "ZIPS_COMPRESSION", "ZIP_COMPRESSION", "PIZ_COMPRESSION"]


def write(path: Path, channels: dict[str, Any], compression: str = "ZIP_COMPRESSION", **header: Any) -> Path:
    with OpenEXR.File({"compression": getattr(OpenEXR, compression), **header}, channels) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("channel", ["Y", "Z", "R", "V", "distance.m"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_channel_name_and_type(tmp_path: Path, channel: str, dtype: type[np.floating]) -> None:
    depth = read_depth(write(tmp_path / "a.exr", {channel: DEPTH.astype(dtype)}))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, DEPTH.astype(dtype))


@pytest.mark.parametrize("compression", LOSSLESS)
def test_lossless_compressions(tmp_path: Path, compression: str) -> None:
    np.testing.assert_array_equal(read_depth(write(tmp_path / "a.exr", {"Y": DEPTH}, compression)), DEPTH)


@pytest.mark.parametrize("compression", ["PXR24_COMPRESSION", "B44_COMPRESSION", "DWAA_COMPRESSION"])
def test_lossy_compressions(tmp_path: Path, compression: str) -> None:
    smooth = np.broadcast_to(np.linspace(10, 20, 64, dtype=np.float32), (64, 64)).copy()
    np.testing.assert_allclose(read_depth(write(tmp_path / "a.exr", {"Y": smooth}, compression)), smooth, rtol=0.05)


def test_written_depth_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.exr"
    write_depth(path, DEPTH)
    np.testing.assert_array_equal(read_depth(path), DEPTH)
    with OpenEXR.File(str(path)) as file:
        assert file.header()["compression"] == OpenEXR.ZIP_COMPRESSION
        assert list(file.channels()) == ["Y"]
    assert [child.name for child in path.parent.iterdir()] == ["a.exr"]
    with pytest.raises(ValueError, match="must have shape \\(H, W\\)"):
        write_depth(path, DEPTH[None])
    np.testing.assert_array_equal(read_depth(path), DEPTH)


def test_depth_with_another_channel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.exr", {"Z": DEPTH, "A": np.ones_like(DEPTH)})
    np.testing.assert_array_equal(read_depth(path), DEPTH)


@pytest.mark.parametrize("names", ["RGB", "RGBA", "RGBZ", "YZ", "AB"])
def test_ambiguous_channels_are_refused(tmp_path: Path, names: str) -> None:
    path = write(tmp_path / "colour.exr", {name: DEPTH.copy() for name in names})
    with pytest.raises(InputError, match=rf"colour\.exr: has the channels {', '.join(sorted(names))}"):
        read_depth(path)


def test_integers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"whole\.exr: must hold half or float of shape \(H, W\), not uint32"):
        read_depth(write(tmp_path / "whole.exr", {"Y": DEPTH.astype(np.uint32)}))


def test_a_part_of_an_image_is_refused(tmp_path: Path) -> None:
    window = (np.array([0, 0], np.int32), np.array([99, 99], np.int32))
    with pytest.raises(InputError, match=r"part\.exr: covers only part"):
        read_depth(write(tmp_path / "part.exr", {"Y": DEPTH}, displayWindow=window))


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.99])
def test_truncated_files_are_named(tmp_path: Path, compression: str, share: float) -> None:
    path = write(tmp_path / "short.exr", {"Y": DEPTH}, compression)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"short\.exr: (is truncated|cannot be read)"):
        read_depth(path)


def test_corrupt_and_missing_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.exr", {"Y": DEPTH.round(-1)})  # what cannot be compressed has no redundancy to check
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.exr: (is truncated or corrupt|cannot be read)"):
        read_depth(path)
    path.write_bytes(b"not an image at all")
    with pytest.raises(InputError, match=r"bad\.exr: cannot be read as OpenEXR"):
        read_depth(path)
    with pytest.raises(InputError, match=r"none\.exr: no such file"):
        read_depth(tmp_path / "none.exr")


def test_a_subsampled_channel_is_refused(tmp_path: Path) -> None:
    channel = OpenEXR.Channel("Y", np.ones((4, 4), np.float32), 2, 2)
    window = (np.zeros(2, np.int32), np.full(2, 7, np.int32))
    path = write(tmp_path / "half.exr", {"Y": channel}, dataWindow=window, displayWindow=window)
    with pytest.raises(InputError, match=r"half\.exr: "):
        read_depth(path)
