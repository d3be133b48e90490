"""Four layouts of layered art: recognising, exact reading, and errors that name the fault."""

from __future__ import annotations

import io
import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from formats.errors import InputError
from formats.images import write_png
from formats.layered_art.base import LayeredArt
from formats.layered_art.layouts import open_layered_art
from formats.layered_art.pairs import layer_pair, write_layer_pair

H, W = 12, 16
Image8 = NDArray[np.uint8]
BOXES = ([2, 1, 10, 9], [0, 0, 16, 12], [8, 4, 16, 12])


def stack(seed: int = 0) -> tuple[Image8, list[Image8], NDArray[np.int64]]:
    """Return the whole image, layers and their true orders; the last layer is as large as the canvas."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
    orders = np.zeros((H, W), np.int64)
    layers: list[Image8] = []
    for number, (x0, y0, x1, y1) in enumerate(BOXES, start=1):
        alpha = rng.choice(np.array([0, 25, 26, 255], np.uint8), (y1 - y0, x1 - x0), p=[0.5, 0.1, 0.1, 0.3])
        pixels = np.concatenate([np.full((*alpha.shape, 3), 40 * number, np.uint8), alpha[..., None]], axis=2)
        for row, column in zip(*np.nonzero(alpha > 0.1 * 255), strict=True):
            orders[y0 + row, x0 + column] = number
        layers.append(pixels)
    canvas = np.zeros((H, W, 4), np.uint8)
    x0, y0, x1, y1 = BOXES[2]
    canvas[y0:y1, x0:x1] = layers[2]
    layers[2] = canvas  # a layer as large as the canvas, visible within its box
    return whole, layers, orders


def write_parsed(folder: Path, seed: int = 0) -> tuple[Image8, NDArray[np.int64]]:
    whole, layers, orders = stack(seed)
    names = [f"{number + 2:02d}_layer_{number:02d}.png" for number in range(3)]
    write_png(folder / "00_whole_image.png", whole)
    write_png(folder / "01_base_image.png", whole)
    for name, pixels in zip(names, layers, strict=True):
        write_png(folder / name, pixels)
    entries = [
        {"layer_index": number, "caption": "", "box": box, "image_path": f"elsewhere/{name}"}
        for number, (box, name) in enumerate(zip(BOXES, names, strict=True))
    ]
    metadata = {"id": folder.name, "style_category": folder.parent.name, "layer_count": 3, "layers": entries}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return whole, orders


def png(pixels: Image8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def parquet_row(seed: int, plain: bool = False) -> dict[str, Any]:
    whole, layers, _ = stack(seed)

    def image(pixels: Image8) -> Any:
        return png(pixels) if plain else {"bytes": png(pixels), "path": None}

    row = {"whole_image": image(whole), "base_image": image(whole), "layer_count": 3}
    for number, (pixels, box) in enumerate(zip(layers, BOXES, strict=True)):
        row |= {f"layer_{number:02d}": image(pixels), f"layer_{number:02d}_box": box}
        row |= {f"layer_{number:02d}_caption": "a layer"}
    return row | {"layer_03": None, "layer_03_box": None}


def write_coco(root: Path, split: str, names: list[str]) -> None:
    images = []
    for number, name in enumerate(names):
        rng = np.random.default_rng([len(split), number])
        image, depth = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((H, W, 3), (H, W)))
        (root / "images" / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "images" / split / name, quality=95)
        write_png((root / "depths" / split / name).with_suffix(".png"), depth)
        images.append({"id": number, "file_name": name, "width": W, "height": H})
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{split}.json").write_text(json.dumps({"images": images, "annotations": []}))


def names(art: LayeredArt) -> list[tuple[str, str]]:
    return [(sample.category, sample.name) for sample in art.samples]


def test_prepared_pairs_among_other_files(tmp_path: Path) -> None:
    image = np.zeros((H, W, 3), np.uint8)
    orders = np.arange(H * W, dtype=np.uint16).reshape(H, W)
    for category, name in (("b", "1"), ("a", "x.y"), ("a", "2")):
        write_layer_pair(layer_pair(tmp_path, category, name), image, orders)
    (tmp_path / "report.csv").write_text("file,outcome\n")
    art = open_layered_art(tmp_path)
    assert names(art) == [("a", "2"), ("a", "x.y"), ("b", "1")]
    layered = art.read(art.samples[1])
    np.testing.assert_array_equal(layered.orders, orders)
    assert layered.layer_count == H * W - 1
    write_layer_pair(layer_pair(tmp_path, "a", "2"), image, np.zeros((H, W), np.uint16))
    assert art.read(art.samples[0]).layer_count == 1


def test_parsed_dataset(tmp_path: Path) -> None:
    truths = {name: write_parsed(tmp_path / "toys" / name, seed) for seed, name in enumerate(("17", "4"))}
    art = open_layered_art(tmp_path)
    assert names(art) == [("toys", "17"), ("toys", "4")]
    for sample in art.samples:
        layered = art.read(sample)
        np.testing.assert_array_equal(layered.image, truths[sample.name][0])
        np.testing.assert_array_equal(layered.orders, truths[sample.name][1])
        assert layered.layer_count == 3
        assert all(path.is_file() for path in art.files(sample))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        metadata = json.loads((folder / "metadata.json").read_text())
        change(metadata)
        (folder / "metadata.json").write_text(json.dumps(metadata))

    return write


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


PARSED_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda f: (f / "metadata.json").write_text("{"), "metadata.json: cannot be read as JSON"),
    "no object": (lambda f: (f / "metadata.json").write_text("[]"), "metadata.json: does not hold a JSON object"),
    "no metadata": (lambda f: (f / "metadata.json").unlink(), "metadata.json: no such file"),
    "no layers": (edited(lambda m: m.pop("layers")), "metadata.json: has no list 'layers'"),
    "no box": (
        edited(lambda m: m["layers"][1].pop("box")),
        "has no list 'layers' of objects with a box",
    ),
    "count": (edited(lambda m: m.update(layer_count=5)), "lists 3 layers, but its layer_count is 5"),
    "upside down": (edited(lambda m: m["layers"].reverse()), "is not ascending"),
    "off canvas": (edited(lambda m: m["layers"][0].update(box=[2, 1, 20, 9])), "02_layer_00.png: has the box"),
    "empty box": (edited(lambda m: m["layers"][0].update(box=[2, 1, 2, 9])), "02_layer_00.png: has the box"),
    "no numbers": (edited(lambda m: m["layers"][0].update(box="all")), "which is not"),
    "other size": (edited(lambda m: m["layers"][0].update(box=[2, 1, 9, 9])), "02_layer_00.png: has 8×8 pixels"),
    "layer missing": (lambda f: (f / "03_layer_01.png").unlink(), "03_layer_01.png: no such file"),
    "layer broken": (lambda f: truncate(f / "03_layer_01.png"), "03_layer_01.png: cannot be read"),
    "image missing": (lambda f: (f / "00_whole_image.png").unlink(), "00_whole_image.png: no such file"),
}


@pytest.mark.parametrize("kind", PARSED_FAULTS)
def test_faults_of_a_parsed_sample_are_named(tmp_path: Path, kind: str) -> None:
    break_it, message = PARSED_FAULTS[kind]
    write_parsed(tmp_path / "toys" / "1")
    break_it(tmp_path / "toys" / "1")
    art = open_layered_art(tmp_path)
    with pytest.raises(InputError) as caught:
        art.read(art.samples[0])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("plain", [False, True])
def test_parquet_rows_in_any_order(tmp_path: Path, plain: bool) -> None:
    rows = [parquet_row(seed, plain) for seed in range(7)]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "toy-00000-of-00002.parquet", row_group_size=3)
    styled = [row | {"style_category": "ink", "id": f"i{number}"} for number, row in enumerate(rows[:2])]
    pq.write_table(pa.Table.from_pylist(styled), tmp_path / "data" / "toy-00001-of-00002.parquet")
    art = open_layered_art(tmp_path)
    assert names(art) == [("ink", "i0"), ("ink", "i1")] + [("toy", f"toy-00000-of-00002_{row:06d}") for row in range(7)]
    for number in (5, 2, 8, 0, 3, 4, 4, 7, 6, 1):
        whole, _, orders = stack(art.samples[number].row)
        layered = art.read(art.samples[number])
        np.testing.assert_array_equal(layered.image, whole)
        np.testing.assert_array_equal(layered.orders, orders)
        assert layered.layer_count == 3
    copy = pickle.loads(pickle.dumps(art))
    np.testing.assert_array_equal(copy.read(copy.samples[3]).orders, stack(1)[2])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(art.read, (art.samples[6],)).orders, stack(4)[2])


PARQUET_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "layer missing": ({"layer_01": None}, "row 0 layer_01: does not hold an image"),
    "layer broken": ({"layer_01": {"bytes": b"nothing", "path": None}}, "row 0 layer_01: cannot be read"),
    "no image": ({"whole_image": None}, "row 0 whole_image: does not hold an image"),
    "too many": ({"layer_count": 4}, "row 0 layer_03: does not hold an image"),
    "box": ({"layer_02_box": [8, 4, 17, 12]}, "row 0 layer_02: has the box"),
}


@pytest.mark.parametrize("kind", PARQUET_FAULTS)
def test_faults_of_a_parquet_row_are_named(tmp_path: Path, kind: str) -> None:
    change, message = PARQUET_FAULTS[kind]
    rows = [parquet_row(0) | change, parquet_row(1)]  # the second gives every column its type
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "toy.parquet")
    art = open_layered_art(tmp_path)
    with pytest.raises(InputError, match="toy.parquet") as caught:
        art.read(art.samples[0])
    assert message in str(caught.value)
    assert art.read(art.samples[1]).layer_count == 3


def test_a_file_without_a_table_of_layers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "toy.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(InputError, match=r"toy\.parquet: cannot be read as parquet"):
        open_layered_art(tmp_path)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "toy.parquet")
    with pytest.raises(InputError, match=r"toy\.parquet: has no column whole_image"):
        open_layered_art(tmp_path)


def test_coco_depths_with_their_own_split(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", ["b.png", "a.jpg"])
    write_coco(tmp_path, "val", ["c.png"])
    art = open_layered_art(tmp_path)
    assert names(art) == [("train", "a"), ("train", "b"), ("val", "c")]
    assert [sample.split for sample in art.samples] == ["train", "train", "val"]
    layered = art.read(art.samples[1])
    rng = np.random.default_rng([5, 0])
    np.testing.assert_array_equal(layered.image, rng.integers(0, 256, (H, W, 3), dtype=np.uint8))
    np.testing.assert_array_equal(layered.orders, rng.integers(0, 256, (H, W), dtype=np.uint8))
    assert layered.layer_count == 255
    assert art.files(art.samples[0]) == [tmp_path / "images/train/a.jpg", tmp_path / "depths/train/a.png"]
    assert art.read(art.samples[0]).orders.shape == (H, W)


def test_faults_of_coco_depths_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, "train", ["a.png"])
    art, depth = open_layered_art(tmp_path), tmp_path / "depths/train/a.png"
    for content, message in (
        (np.zeros((H, W + 1), np.uint8), "its image 16×12"),
        (np.full((H, W), 256, np.uint16), "8 bits"),
        (np.zeros((H, W, 3), np.uint8), "colours"),
    ):
        write_png(depth, content)
        with pytest.raises(InputError, match=message):
            art.read(art.samples[0])
    for text in ("{", "{}", '{"images": [{"id": 1}]}'):
        (tmp_path / "annotations/train.json").write_text(text)
        with pytest.raises(InputError, match=r"train\.json"):
            open_layered_art(tmp_path)


def test_a_folder_without_layered_art_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_layered_art(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no layered art of a known layout"):
        open_layered_art(tmp_path)
    write_parsed(tmp_path / "toys" / "1")
    assert len(open_layered_art(tmp_path, "parsed_dataset").samples) == 1
    with pytest.raises(InputError, match="has no layered art of the layout 'pairs'"):
        open_layered_art(tmp_path, "pairs")
