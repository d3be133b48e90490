"""Every reader of the project, each with a small valid file."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from command_line.settings import read_sources
from datamodules.region_graphs import read_ordered_regions
from decomposition.colour_regions import colour_regions
from decomposition.layer import Layer
from decomposition.region_graph import region_graph
from exporters.open_raster import write_open_raster
from exporters.photoshop import write_psd
from formats.aerial_megadepth import read_camera, read_labels, read_split, write_camera, write_split
from formats.exr import read_depth, write_depth
from formats.images import read_grey, read_rgb, read_rgba, write_png
from formats.latent_shards import ExtractionRecord, LatentStatistics, open_shard, write_shard
from formats.latent_space import LatentSpace
from formats.layered_art.layouts import open_layered_art
from formats.layered_art.open_raster import read_open_raster
from formats.layered_art.pairs import layer_pair, write_layer_pair
from formats.layered_art.photoshop import read_psd
from formats.layered_art.stack import LayerStack
from formats.local_files import read_csv, read_json_object
from formats.restricted_pickle import read_npz
from formats.svg.paint_order import draw_svg_layers
from formats.torch_files import read_torch
from formats.training_checkpoint import read_training_checkpoint
from networks.checkpoint_files import read_state_dict
from networks.shipped_weights import REQUIRED, load_shipped, read_card, save_shipped
from networks.tokenizers import LappedPCA, load_tokenizer
from prepare.layers import _Report
from prepare.output_folder import claim_folder
from prepare.pipeline import read_finished, read_guidance_scale
from tests.support.mutations import Reader

REMEDY = "Write it again."
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
ORDERS = np.repeat(np.arange(12, dtype=np.uint16)[:, None] // 4, 16, axis=1)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><style>.a{fill:#f80}</style><g opacity="0.9">'
    '<rect class="a" width="20" height="12"/><circle cx="9" cy="9" r="6" fill="blue" transform="rotate(5)"/></g>'
    '<path d="M1 1L9 4z" stroke="black"/></svg>'
)


def _objects(*values: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _write_objects(path: Path) -> Path:
    pairs = _objects((0, 0, 1, 0.5), [0, 1, 0, 0.25])
    names = _objects("a.jpg", b"b.jpg")
    np.savez(path, scenes=_objects("s", None), images=names, images_scene_name=_objects("s", "s"), pairs=pairs)
    return path


def _split(path: Path) -> Any:
    split = read_split(path)
    return [split.scenes, split.images, split.images_scene_name, split.pairs, split.scene_ids, split.scores]


def _image(path: Path, mode: str, **options: Any) -> Path:
    Image.fromarray(IMAGE).convert(mode).save(path, **options)
    return path


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _parsed(folder: Path) -> Path:
    sample = folder / "art" / "s"
    for name in ("00_whole_image.png", "02_layer_00.png", "03_layer_01.png"):
        write_png(sample / name, np.dstack([IMAGE, np.full((12, 16), 255, np.uint8)]))
    layers: list[dict[str, Any]] = [{"layer_index": number, "box": [0, 0, 16, 12]} for number in range(2)]
    layers[1]["image_path"] = "03_layer_01.png"
    return _text(sample / "metadata.json", json.dumps({"layer_count": 2, "layers": layers}))


def _coco(folder: Path) -> Path:
    write_png(folder / "images" / "train" / "a.png", IMAGE)
    write_png(folder / "depths" / "train" / "a.png", ORDERS.astype(np.uint8))
    return _text(folder / "annotations" / "train.json", json.dumps({"images": [{"id": 1, "file_name": "a.png"}]}))


def _pairs(folder: Path) -> Path:
    files = layer_pair(folder, "c", "a")
    write_layer_pair(files, IMAGE, ORDERS)
    return files.orders


def _parquet(folder: Path) -> Path:
    write_png(folder / "x.png", np.dstack([IMAGE, np.full((12, 16), 200, np.uint8)]))
    encoded = [(folder / "x.png").read_bytes()] * 3
    (folder / "x.png").unlink()
    columns = {"id": ["a", "b", "c"], "style": ["s"] * 3, "whole_image": encoded, "layer_count": [2, 1, 1]}
    columns |= {"layer_00": encoded, "layer_00_box": [[0, 0, 16, 12]] * 3}
    columns |= {"layer_01": encoded, "layer_01_box": [None] * 3}
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=2)
    return folder / "rows.parquet"


def _layered(path: Path, write: Callable[[Path, list[Layer]], None]) -> Path:
    pixels = np.dstack([IMAGE, np.full((12, 16), 255, np.uint8)])
    write(path, [Layer("below", pixels, 0.0), Layer("above", np.where(pixels[..., :1] > 99, pixels, 0), 1.0)])
    return path


def _stack(stack: LayerStack) -> Any:
    return [stack.whole, stack.base, *((layer.caption, layer.pixels, layer.box) for layer in stack.layers)]


def _art(levels: int) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        art = open_layered_art(path.parents[levels])
        return [[sample.category, sample.name, *art.read(sample)] for sample in art.samples]

    return read


def _shard(path: Path) -> Any:
    shard = open_shard(path)
    tensors = [shard.latents, shard.labels, shard.latents_flip]
    return [None if tensor is None else tensor.clone() for tensor in tensors]  # the file is mapped, and damaged next


def _extraction(folder: Path) -> Path:
    record = ExtractionRecord("images", "tokenizer.safetensors", "f", "mean", 0, True, 8, 64, {"train": 3}, "d")
    return _text(folder / "extraction.json", json.dumps(asdict(record)))


def _checkpoint(path: Path, legacy: bool = False) -> Path:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "epoch": 1,
        "global_step": 3,
        "pytorch-lightning_version": "2.6.6",
        "loops": {},
        "callbacks": {},
        "hyper_parameters": {"network": {"depth": 2}, "betas": (0.9, 0.95), "rate": 0.1},
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def _tensors(path: Path) -> Path:
    save_file({"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.ones(3), "n": torch.tensor([2])}, path)
    return path


def _pca(path: Path) -> Path:
    images = torch.randint(256, (8, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    LappedPCA.fit([images], latent_channels=5).save(path)
    return path


def _card(folder: Path) -> Path:
    save_shipped("small", {"a": torch.arange(8.0)}, dict.fromkeys(REQUIRED, "x") | {"network": {"depth": 1}}, folder)
    return folder / "small.yaml"


def _regions(path: Path) -> Path:
    image = np.repeat(np.repeat(IMAGE[:3, :3], 8, axis=0), 8, axis=1)
    graph = region_graph(image, colour_regions(image))
    save_numpy({**vars(graph), "orders": np.ones(len(graph.regions), np.float32)}, path)
    return path


def _graph(path: Path) -> Any:
    regions = read_ordered_regions(path)
    return [*vars(regions.graph).values(), regions.orders]


def _config(path: Path) -> Path:
    return Path(shutil.copy(Path(__file__).parents[2] / "configs" / "dit_microdoppler.yaml", path))


def _record(folder: Path) -> Path:
    claim_folder(folder / "data", {"seed": 1, "size": [2, 3]})
    return folder / "data" / "simulation.json"


def _claimed(path: Path) -> None:
    claim_folder(path.parent, {"seed": 1, "size": [2, 3]})


def _report(folder: Path) -> Path:
    rows = [["a/b.svg", "converted", "", "", "3", "16", "12", "0.1", "0"]]
    rows.append(["c.svg", "refused", "broken XML", "x", "0", "0", "0", "0", "0"])
    with (folder / "report.csv").open("w", newline="") as file:
        csv.writer(file).writerows([_Report.columns, *rows])
    return folder / "report.csv"


def _statistics(path: Path) -> Path:
    LatentStatistics(torch.arange(4.0), torch.ones(4)).write(path)
    return path


def _read_statistics(path: Path) -> Any:
    statistics = LatentStatistics.read(path)
    return [statistics.mean, statistics.std]


def _latent_space(path: Path) -> Path:
    space = LatentSpace(LatentStatistics(torch.arange(4.0), torch.ones(4)), "dataset", 1.0, torch.tensor([1, 2, 5]))
    torch.save(space.to_checkpoint(), path)
    return path


def _read_space(path: Path) -> Any:
    return LatentSpace.from_checkpoint(read_torch(path, REMEDY)).to_checkpoint()


def _write_split(path: Path) -> Path:
    write_split(path, ["s"], ["a.jpg", "b.jpg"], ["s", "s"], np.array([[0, 1]]), np.ones(1))
    return path


def _write_camera(path: Path) -> Path:
    write_camera(path, np.eye(3), np.eye(4))
    return path


def _write_depth(path: Path) -> Path:
    write_depth(path, RNG.random((12, 16), dtype=np.float32))
    return path


def _write_orders(path: Path) -> Path:
    write_png(path, ORDERS)
    return path


def _latents(path: Path) -> Path:
    write_shard(path, torch.rand(3, 2, 4, 4), torch.tensor([1, 1, 2]), torch.rand(3, 2, 4, 4))
    return path


def _read_extraction(path: Path) -> Any:
    record = ExtractionRecord.read(path.parent)
    return record and asdict(record)


def _read_config(path: Path) -> Any:
    return dict(read_sources([f"--config={path}"])[0].settings)


def _read_report(path: Path) -> Any:
    return {name: asdict(row) for name, row in _Report(path.parent).rows.items()}


def _read_pca(path: Path) -> Any:
    return {name: tensor.clone() for name, tensor in load_tokenizer(path).state_dict().items()}


def _json(path: Path, content: Any) -> Path:
    return _text(path, json.dumps(content))


FINISHED = {"finished": [{"name": "train", "words": ["fit"], "seconds": 1.5}]}
GUIDANCE = {"guidance_scale": 1.5, "measures": {}}
GENERATION = {"sampler": "euler", "sample_seed": 3}
OVERLAY = {"trainer": {"devices": 1}, "data": {"a": [1, 2.5, None]}}

READERS = (
    Reader("split of pickles", lambda folder: _write_objects(folder / "file.npz"), _split),
    Reader("split", lambda folder: _write_split(folder / "file.npz"), _split),
    Reader(
        "arrays", lambda folder: _write_objects(folder / "file.npz"), lambda path: read_npz(path, ["images", "pairs"])
    ),
    Reader("camera", lambda folder: _write_camera(folder / "file.npz"), lambda path: list(read_camera(path))),
    Reader("depth", lambda folder: _write_depth(folder / "file.exr"), read_depth),
    Reader("PNG", lambda folder: _image(folder / "file.png", "RGB"), read_rgb),
    Reader("PNG with alpha", lambda folder: _image(folder / "file.png", "RGBA"), read_rgba),
    Reader("PNG with a palette", lambda folder: _image(folder / "file.png", "P"), read_labels),
    Reader("PNG of 16 bits", lambda folder: _write_orders(folder / "file.png"), read_grey),
    Reader("JPEG", lambda folder: _image(folder / "file.jpg", "RGB"), read_rgb),
    Reader("WebP", lambda folder: _image(folder / "file.webp", "RGB"), read_rgb),
    Reader("TIFF", lambda folder: _image(folder / "file.tif", "RGB", compression="tiff_lzw"), read_rgba),
    Reader("BMP", lambda folder: _image(folder / "file.bmp", "RGB"), read_rgb),
    Reader("SVG", lambda folder: _text(folder / "file.svg", SVG), lambda path: list(draw_svg_layers(path, 24))),
    Reader("layers of PNG", _parsed, _art(2)),
    Reader("COCO annotations", _coco, _art(1)),
    Reader("pairs of orders", _pairs, _art(2)),
    Reader("parquet", _parquet, _art(0)),
    Reader("PSD", lambda folder: _layered(folder / "file.psd", write_psd), lambda path: _stack(read_psd(path))),
    Reader(
        "OpenRaster",
        lambda folder: _layered(folder / "file.ora", write_open_raster),
        lambda path: _stack(read_open_raster(path)),
    ),
    Reader("latents", lambda folder: _latents(folder / "file.safetensors"), _shard),
    Reader("statistics of latents", lambda folder: _statistics(folder / "file.pt"), _read_statistics, exact=True),
    Reader("latent space", lambda folder: _latent_space(folder / "file.pt"), _read_space, exact=True),
    Reader("extraction.json", _extraction, _read_extraction),
    Reader("weights of torch", lambda folder: _checkpoint(folder / "file.ckpt"), read_state_dict, exact=True),
    Reader("weights of old torch", lambda folder: _checkpoint(folder / "file.pt", legacy=True), read_state_dict),
    Reader("weights as safetensors", lambda folder: _tensors(folder / "file.safetensors"), read_state_dict),
    Reader("checkpoint", lambda folder: _checkpoint(folder / "file.ckpt"), read_training_checkpoint, exact=True),
    Reader("LappedPCA", lambda folder: _pca(folder / "file.safetensors"), _read_pca),
    Reader("card of weights", _card, lambda path: read_card(path.stem, path.parent)),
    Reader(
        "weights with a card",
        lambda folder: _card(folder).with_suffix(".safetensors"),
        lambda path: load_shipped(path.stem, path.parent).tensors,
        exact=True,
    ),
    Reader("region graph", lambda folder: _regions(folder / "file.safetensors"), _graph),
    Reader("configuration", lambda folder: _config(folder / "file.yaml"), _read_config),
    Reader("overlay", lambda folder: _text(folder / "file.yaml", yaml.safe_dump(OVERLAY)), _read_config),
    Reader("record of a folder", _record, _claimed),
    Reader("report.csv", _report, _read_report),
    Reader(
        "metrics.csv",
        lambda folder: _text(folder / "metrics.csv", "step,val/loss\n1,0.5\n2,0.4\n"),
        lambda path: read_csv(path, REMEDY),
    ),
    Reader("pipeline.json", lambda folder: _json(folder / "pipeline.json", FINISHED), read_finished),
    Reader("guidance.json", lambda folder: _json(folder / "guidance.json", GUIDANCE), read_guidance_scale),
    Reader(
        "generation.json",
        lambda folder: _json(folder / "generation.json", GENERATION),
        lambda path: read_json_object(path, REMEDY),
    ),
)
