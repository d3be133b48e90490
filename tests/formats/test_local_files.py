"""Names out of files stay within their folder, and only regular files are opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.illustration_folder import IllustrationFolderDataModule
from datamodules.pair_folder import PairFolderDataModule
from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from formats.aerial_megadepth import image_files, read_split, write_split
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb, write_png
from formats.latent_shards import ExtractionRecord
from formats.layered_art.layouts import open_layered_art
from formats.layered_art.pairs import layer_pair
from formats.local_files import parse_yaml, path_within, read_csv, read_json, read_record, require_file
from formats.restricted_pickle import read_npz
from formats.svg.document import read_svg
from formats.torch_files import read_torch
from prepare.region_graphs import region_graphs

OUTSIDE = ["../x", "/x", "a/../../x", "..", "", "a/\0b"]
IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"list\.json: names .* which is not within"):
        path_within(tmp_path, name, "list.json")


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "inside").mkdir(parents=True)
    other.mkdir()
    (other / "file").touch()
    (root / "folder").symlink_to(other)
    (root / "file").symlink_to(other / "file")
    (root / "fine").symlink_to(root / "inside")
    (root / "circle").symlink_to(root / "circle")
    for name in ("folder/file", "folder/new", "file"):
        with pytest.raises(InputError, match="not within"):
            path_within(root, name, "list")
    for name in ("inside/file", "fine/file", "new", "new/deeper"):
        assert path_within(root, name, "list") == root / name
    with pytest.raises(InputError):
        path_within(root, "circle/x", "list")
    (tmp_path / "alias").symlink_to(root)
    assert path_within(tmp_path / "alias", "inside/file", "list").name == "file"  # the root itself may be a link


@pytest.mark.parametrize("name", ["../photo", "/victim", "a/../../b"])
def test_readers_and_writers_refuse_names_that_lead_out(tmp_path: Path, name: str) -> None:
    assert layer_pair(tmp_path, "/", "x").image == tmp_path / "images" / "x.png"
    if name.startswith("/"):
        assert layer_pair(tmp_path, name, "x").image == tmp_path / "images" / name[1:] / "x.png"
    else:
        with pytest.raises(InputError):
            layer_pair(tmp_path, name, "x")
    with pytest.raises(InputError):
        layer_pair(tmp_path, "c", f"{name}/../../../x")
    with pytest.raises(InputError):
        image_files(tmp_path, None, "scene/../..", name)
    write_split(tmp_path / "a.npz", ["s"], [name, "b.jpg"], ["s", "s"], np.array([[0, 1]]), np.ones(1))
    with pytest.raises(InputError, match=r"a\.npz: entry 0 of 'images'"):
        read_split(tmp_path / "a.npz")


def test_coco_and_extraction_records_stay_in_their_folders(tmp_path: Path) -> None:
    for folder in ("annotations", "depths/train", "images/train"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("../../secret.png", "/secret.png"):
        (tmp_path / "annotations" / "train.json").write_text(json.dumps({"images": [{"file_name": name}]}))
        with pytest.raises(InputError, match=r"train\.json: names"):
            open_layered_art(tmp_path)
    record = ExtractionRecord("i", "../../t.safetensors", "f", "mean", 0, True, 8, 64, {"train": 3}, "d")
    (tmp_path / "extraction.json").write_text(json.dumps(vars(record)))
    with pytest.raises(InputError, match=r"extraction\.json: names"):
        ExtractionRecord.read(tmp_path)


def test_names_of_a_table_do_not_choose_where_results_are_written(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", np.full((16, 16, 4), 240, np.uint8))
    image = (tmp_path / "x.png").read_bytes()
    columns = {"id": ["../../outside"], "style": ["s"], "whole_image": [image], "layer_count": [1], "layer_00": [image]}
    (tmp_path / "art").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "art" / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: names '?\"?s/\.\./\.\./outside"):
        region_graphs(str(tmp_path / "art"), str(tmp_path / "out" / "graphs"))
    assert not list(tmp_path.rglob("outside*"))


READERS: dict[str, Callable[[Path], object]] = {
    "a.png": read_rgb,
    "a.exr": read_depth,
    "a.svg": read_svg,
    "a.npz": lambda path: read_npz(path, ["x"]),
    "a.pt": lambda path: read_torch(path, "Replace it."),
    "a.json": lambda path: read_json(path, "Replace it."),
    "a.csv": lambda path: read_csv(path, "Replace it."),
}


@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_never_opened(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="not a regular file|no such file"):
        READERS[name](tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a regular file|no such file"):
        READERS[name](tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(InputError):
        READERS[name](tmp_path / name)


def test_a_pipe_in_a_folder_of_images_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "train" / "ID_1" / "a.png", IMAGE)
    os.mkfifo(tmp_path / "train" / "ID_1" / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is not a regular file"):
        SpectrogramDataset(find_spectrograms(tmp_path, "train"), 4).__getitems__([0, 1])
    for data in (PairFolderDataModule, IllustrationFolderDataModule):
        module = data(str(tmp_path / "train" / "ID_1"))
        module.setup("predict")
        with pytest.raises(InputError, match=r"b\.png: is not a regular file"):
            list(module.predict_dataloader())


@dataclass
class Pair:
    name: str
    count: int


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"name": 1, "count": 1}', '{"name": "a", "count": true}', '{"name": "a", "count": 1, "x": 1}']
)
def test_records_have_their_types(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text('{"name": "a", "count": 1}')
    assert read_record(Pair, tmp_path / "a.json", "") == Pair("a", 1)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json: "):
        read_record(Pair, tmp_path / "a.json", "Replace it.")


def test_yaml_does_not_grow() -> None:
    lines = ["a0: &a0 [1, 1]"] + [f"a{number}: &a{number} [*a{number - 1}, *a{number - 1}]" for number in range(1, 40)]
    for text in ("\n".join(lines), "a: &a [*a]", "[" * 5000, "a: !!python/name:os.system"):
        with pytest.raises(InputError, match=r"a\.yaml: cannot be read as YAML"):
            parse_yaml(text, "a.yaml", "Correct it.")
    assert parse_yaml("a: [1, {b: 2}]", "a.yaml", "") == {"a": [1, {"b": 2}]}


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match=r"a\.json: cannot be read"):
        read_json(tmp_path / "a.json", "Replace it.")
    with pytest.raises(InputError, match="cannot be a file"):
        require_file("a" * 5000, "Name another.")
