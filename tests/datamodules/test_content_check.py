"""Values of samples: data that is not finite is refused when it is opened, and listed by ``prepare check-data``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from cli import main
from datamodules.latents import LatentDataModule
from datamodules.region_graphs import read_ordered_regions
from decomposition.region_graph import PAIR_FEATURES, REGION_FEATURES
from formats.aerial_megadepth import read_camera, read_split, write_camera
from formats.errors import InputError
from formats.exr import read_depth, write_depth
from formats.images import write_png
from formats.latent_shards import LatentStatistics, open_shard
from formats.layered_art.layouts import open_layered_art
from formats.layered_art.pairs import layer_pair
from tests.support.aerial_scene import write_scene
from tests.support.commands import ROOT
from tests.support.tiny_tasks import pair, write_art, write_latents

CONFIGS = ROOT / "configs"


def changed(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> Path:
    """Change the tensors of the training shard."""
    path = write_latents(folder) / "train.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return folder


def check(config: str, data: Path) -> None:
    main(["prepare", "check-data", "--config", str(CONFIGS / config), "--data_dir", str(data)])


@pytest.mark.parametrize("value", [torch.nan, -torch.inf, 1e30])
def test_latents_that_are_not_finite_are_refused_when_opened(tmp_path: Path, value: float) -> None:
    def poison(tensors: dict[str, Tensor]) -> None:
        tensors["latents"][5, 3, 2, 1] = value

    data = LatentDataModule(str(changed(tmp_path, poison)))
    with pytest.raises(InputError, match=r"sample train\.safetensors row 5: its latents .*prepare check-data"):
        data.setup("fit")


def test_all_latents_are_checked_by_a_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 1000 latents, two that the sample taken on opening does not meet."""
    write_latents(tmp_path, train=1000)
    tensors = load_file(tmp_path / "train.safetensors")
    check("dit_microdoppler.yaml", tmp_path)
    assert "1000 train and 6 val samples checked, all can be used" in capsys.readouterr().out
    tensors["latents"][[3, 701], 0, 0, 0] = torch.tensor([torch.nan, 1e30])
    save_file(tensors, tmp_path / "train.safetensors")
    LatentDataModule(str(tmp_path)).setup("fit")
    with pytest.raises(InputError, match="2 samples cannot be used, of 1000 train and 6 val"):
        check("dit_microdoppler.yaml", tmp_path)
    out = capsys.readouterr().out
    assert "train: sample train.safetensors row 3: its latents are not finite" in out
    assert "train: sample train.safetensors row 701: its latents reach 1e+30" in out


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("user_ids", torch.full((12,), 1.7), "'user_ids' of type torch.float32"),
        ("user_ids", torch.ones(12, dtype=torch.bool), "'user_ids' of type torch.bool"),
        ("user_ids", torch.arange(12) - 5, "'user_ids' of -5"),
        ("latents", torch.ones(12, 8, 4, 4, dtype=torch.complex64), "'latents' of type torch.complex64"),
        ("latents", torch.ones(12, 8, 4, 4, dtype=torch.int8), "'latents' of type torch.int8"),
        ("latents_flip", torch.ones(12, 8, 4, 4, dtype=torch.int64), "'latents_flip' of type torch.int64"),
    ],
)
def test_latents_of_other_types_are_refused(tmp_path: Path, key: str, values: Tensor, message: str) -> None:
    folder = changed(tmp_path, lambda tensors: tensors.update({key: values}))
    with pytest.raises(InputError, match=message):
        open_shard(folder / "train.safetensors")


@pytest.mark.parametrize("key", ["mean", "std"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, 0.0, 1e-12, -1.0])
def test_statistics_that_cannot_normalise_are_refused(tmp_path: Path, key: str, value: float) -> None:
    content = {"mean": torch.zeros(1, 4, 1, 1), "std": torch.ones(1, 4, 1, 1)}
    content[key][0, 2] = value
    torch.save(content, tmp_path / "latents_stats.pt")
    if key == "mean" and abs(value) <= 1:
        LatentStatistics.read(tmp_path / "latents_stats.pt")
        return
    with pytest.raises(InputError, match=r"latents_stats\.pt: has a (mean|standard deviation) of \S+ in channel 2"):
        LatentStatistics.read(tmp_path / "latents_stats.pt")
    with pytest.raises(InputError, match="cannot be normalised"):
        LatentStatistics(content["mean"].flatten(), content["std"].flatten()).write(tmp_path / "other.pt")
    assert not (tmp_path / "other.pt").exists()


def test_statistics_of_complex_numbers_are_refused(tmp_path: Path) -> None:
    torch.save({"mean": torch.zeros(4), "std": torch.ones(4, dtype=torch.complex64)}, tmp_path / "latents_stats.pt")
    with pytest.raises(InputError, match=r"'std' is torch\.complex64"):
        LatentStatistics.read(tmp_path / "latents_stats.pt")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -1.0])
def test_depth_that_cannot_be_is_not_used(tmp_path: Path, value: float) -> None:
    """Pixels whose depth is not finite, negative or beyond the largest depth are invalid, as in published data."""
    _, data = pair(tmp_path)
    path = next((tmp_path / "pairs").rglob("*.exr"))
    depth = read_depth(path)
    depth[20:30, 20:30] = value
    write_depth(path, depth)
    data.setup("fit")
    batch = data.datasets["train"].__getitems__([0])  # type: ignore[attr-defined]
    assert all(bool(tensor.isfinite().all()) for tensor in batch.values() if isinstance(tensor, Tensor))
    assert not batch["point_masks"].all()


@pytest.mark.parametrize("part", ["focal length", "position"])
def test_cameras_beyond_any_map_are_refused(tmp_path: Path, part: str) -> None:
    path = next(write_scene(tmp_path).glob("0001/*.npz"))
    intrinsics, cam2world = read_camera(path)
    if part == "focal length":
        intrinsics[0, 0] = 1e30
    else:
        cam2world[1, 3] = 1e30
    write_camera(path, intrinsics, cam2world)
    with pytest.raises(InputError, match=r"has numbers over 1e\+08"):
        read_camera(path)


def test_an_overlap_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path) / "train.npz"
    arrays = dict(np.load(path))
    arrays["pairs"]["score"][0] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="overlap that is not finite"):
        read_split(path)


def test_broken_depth_is_found_when_opened_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, data = pair(tmp_path)
    path = next((tmp_path / "pairs" / "0001").glob("*.exr"))
    write_depth(path, np.full((72, 96), np.nan, np.float32))
    with pytest.raises(InputError, match=r"\.exr: has no valid depth"):
        data.setup("fit")
    config = tmp_path / "tiny.yaml"
    config.write_text("data: {init_args: {image_size: 56, segmentation_dir: null}}")
    files = ["--config", str(CONFIGS / "pair_aerialmd.yaml"), f"--config={config}"]
    with pytest.raises(InputError, match=r"3 samples cannot be used, of 3 train and 2 val"):
        main(["prepare", "check-data", *files, "--data_dir", str(tmp_path / "pairs")])
    assert f"{path.name}: has no valid depth" in capsys.readouterr().out


def test_broken_layers_are_found_when_opened_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    art = open_layered_art(write_art(tmp_path))
    bad = layer_pair(tmp_path, "shapes", art.samples[-1].name)
    write_png(bad.orders, np.zeros((3, 3), np.uint16))
    with pytest.raises(InputError, match="1 samples cannot be used"):
        check("layer_index.yaml", tmp_path)
    assert f"{bad.orders}: has 3×3 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("count", [-5, 1.5, 2**40])
def test_a_number_of_layers_that_cannot_be_is_refused(tmp_path: Path, count: float) -> None:
    write_png(tmp_path / "image.png", np.zeros((4, 4, 3), np.uint8))
    image = (tmp_path / "image.png").read_bytes()
    pq.write_table(pa.table({"whole_image": [image], "layer_count": [count]}), tmp_path / "part.parquet")
    art = open_layered_art(tmp_path)
    with pytest.raises(InputError, match="has the layer_count"):
        art.read(art.samples[0])


@pytest.mark.parametrize("key", ["regions", "orders", "contacts"])
def test_region_graphs_that_are_not_finite_are_refused(tmp_path: Path, key: str) -> None:
    arrays = {
        "regions": np.zeros((2, len(REGION_FEATURES)), np.float32),
        "areas": np.ones(2, np.float32),
        "pairs": np.array([[0, 1]], np.int32),
        "pair_features": np.zeros((1, len(PAIR_FEATURES)), np.float32),
        "swapped_features": np.zeros((1, len(PAIR_FEATURES)), np.float32),
        "contacts": np.ones(1, np.float32),
        "orders": np.array([0, 1], np.float32),
    }
    save_arrays(arrays, tmp_path / "good.safetensors")
    assert read_ordered_regions(tmp_path / "good.safetensors").graph.regions.shape[0] == 2
    arrays[key].reshape(-1)[0] = np.nan
    save_arrays(arrays, tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match=rf"bad\.safetensors: holds {key} that are not finite"):
        read_ordered_regions(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: {}", "names no datamodule"),
        ("data: {class_path: os.path}", "names the datamodule 'path'"),
        ("[", "YAML"),
    ],
)
def test_configurations_without_data_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        main(["prepare", "check-data", "--config", str(tmp_path / "config.yaml")])
