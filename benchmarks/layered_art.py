"""Illustrations per second and worker process of the layer index data loader at full size.

python benchmarks/layered_art.py --out benchmarks/results/layered_art_cpu.json

Data are simulated: prepared pairs of two sizes, and layered art as folders and as parquet rows. ``plain`` is a
straightforward dataset for comparison: float colours, Pillow's resizing, single samples that are collated.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import default_collate

from datamodules.aerial_megadepth.transforms import change_colours
from datamodules.layered_art import LayeredArtDataModule
from formats.atomic import write_json
from formats.images import read_grey, read_rgb, resize_rgb
from formats.layered_art.pairs import layer_pair
from prepare.illustrations_sample import illustrations_sample
from simulators.illustration.scenes import random_illustration

BATCH = 4
AUGMENTED: dict[str, Any] = {
    "flip_augmentation": True,
    "turn_augmentation": True,
    "crop_augmentation": 0.3,
    "colour_augmentation": 0.3,
}
LAYERS, CANVAS, ROWS = 10, 1024, 16  # of the art in folders and rows


def per_second(batches: Iterable[object], count: int) -> float:
    """Return images per second over ``count`` batches, after a first one."""
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    for _ in islice(iterator, count):
        pass
    return BATCH * count / (time.perf_counter() - start)


def datamodule(root: Path, workers: int, side: int, **more: Any) -> LayeredArtDataModule:
    data = LayeredArtDataModule(
        str(root), image_size=side, batch_size=BATCH, num_workers=workers, val_share=0.3, test_share=0.0, **more
    )
    data.setup("fit")
    return data


def in_process(data: LayeredArtDataModule) -> Iterable[object]:
    dataset = data.datasets["train"]
    indices = cycle(range(len(dataset)))
    while True:
        yield dataset.__getitems__(list(islice(indices, BATCH)))


def through_loader(data: LayeredArtDataModule) -> Iterable[object]:
    loader = data.train_dataloader()
    while True:
        yield from loader


def plain(data: LayeredArtDataModule, side: int, augmented: bool) -> Iterable[object]:
    files = data.datasets["train"].files
    rng = np.random.default_rng(0)

    def sample(number: int) -> dict[str, torch.Tensor]:
        art, where = files[number]
        pair = layer_pair(art.root, where.category, where.name)
        image, orders = read_rgb(pair.image), read_grey(pair.orders)
        image = resize_rgb(image, side, side)
        orders = np.asarray(Image.fromarray(orders.astype(np.int32)).resize((side, side), Image.Resampling.NEAREST))
        if augmented:
            image = change_colours(image, *rng.uniform(0.7, 1.3, 3))
            turns = int(rng.integers(4))
            image, orders = np.rot90(image, turns), np.rot90(orders, turns)
        return {
            "images": torch.from_numpy(image.transpose(2, 0, 1).copy()),
            "orders": torch.from_numpy(orders.astype(np.int32)),
            "masks": torch.ones(side, side, dtype=torch.bool),
        }

    indices = cycle(range(len(files)))
    while True:
        yield default_collate([sample(number) for number in islice(indices, BATCH)])


def prepared(root: Path, side: int, batches: int) -> dict[str, dict[str, float]]:
    """Measure prepared pairs of 512 and 1536 pixels, with and without augmentation."""
    results = {}
    for size in (512, 1536):
        illustrations_sample(str(root / str(size)), num_images=48, size=size)
        settings: tuple[tuple[str, dict[str, Any]], ...] = (("", {}), (", augmented", AUGMENTED))
        for name, augmentation in settings:
            ours = per_second(in_process(datamodule(root / str(size), 0, side, **augmentation)), batches)
            loader = per_second(through_loader(datamodule(root / str(size), 1, side, **augmentation)), batches)
            usual = per_second(plain(datamodule(root / str(size), 0, side), side, bool(augmentation)), batches)
            figures = {"ours": ours, "ours, loader with one worker": loader, "plain": usual, "ratio": ours / usual}
            results[f"from {size} px{name}"] = figures
    return results


def layered(root: Path, side: int, batches: int) -> dict[str, float]:
    """Measure art whose layers are separate images, which are decoded and composed."""
    illustrations = [random_illustration(number, CANVAS) for number in range(4)]
    rows: list[dict[str, Any]] = []
    for number in range(ROWS):
        image, orders = illustrations[number % 4]
        row: dict[str, Any] = {"whole_image": {"bytes": encoded(image), "path": None}, "layer_count": LAYERS}
        cut = np.linspace(0, int(orders.max()) + 1, LAYERS + 1).astype(int)
        for layer, (low, high) in enumerate(pairwise(cut)):
            alpha = np.where((orders >= low) & (orders < high), 255, 0).astype(np.uint8)[..., None]
            row[f"layer_{layer:02d}"] = {"bytes": encoded(np.concatenate([image, alpha], axis=2)), "path": None}
            row[f"layer_{layer:02d}_box"] = [0, 0, CANVAS, CANVAS]
        rows.append(row)
        folder = root / "folders" / "art" / f"{number:03d}"
        folder.mkdir(parents=True)
        (folder / "00_whole_image.png").write_bytes(row["whole_image"]["bytes"])
        entries = []
        for layer in range(LAYERS):
            content = row[f"layer_{layer:02d}"]["bytes"]
            (folder / f"{layer + 2:02d}_layer_{layer:02d}.png").write_bytes(content)
            entries.append({"layer_index": layer, "box": row[f"layer_{layer:02d}_box"]})
        (folder / "metadata.json").write_text(json.dumps({"layer_count": LAYERS, "layers": entries}))
    (root / "rows").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), root / "rows" / "art.parquet", row_group_size=8)
    names: dict[str, Callable[[], LayeredArtDataModule]] = {
        "parsed_dataset": lambda: datamodule(root / "folders", 0, side),
        "parquet, rows in order": lambda: datamodule(root / "rows", 0, side),
    }
    figures = {name: per_second(in_process(make()), batches) for name, make in names.items()}
    shuffled = datamodule(root / "rows", 0, side)
    return figures | {"parquet, rows at random": per_second(through_loader(shuffled), batches)}


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1536, help="side of the network's square in pixels")
    parser.add_argument("--batches", type=int, default=16, help="batches of 4 per figure")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a worker
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = {
            "device": f"{platform.machine()} CPU, 1 thread",
            "command": f"python benchmarks/layered_art.py --side {arguments.side} --batches {arguments.batches}",
            "torch": torch.__version__,
            "images per second and worker, prepared pairs": prepared(root, arguments.side, arguments.batches),
            f"images per second and worker, {LAYERS} layers of {CANVAS} px": layered(
                root, arguments.side, max(1, arguments.batches // 4)
            ),
        }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    main()
