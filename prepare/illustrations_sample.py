"""Sample data for the layer index: simulated illustrations with the paint order of every pixel."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from formats.errors import InputError
from formats.layered_art.pairs import LayerPair, layer_pair, write_layer_pair
from formats.progress import progress
from prepare.output_folder import claim_folder
from simulators.illustration.scenes import KINDS, draw_illustration

PER_ROUND = ("object", "landscape", "object", "arrangement")  # every other image is one object, as in clip art
MIN_SIZE, MAX_SIZE = 16, 4096


def illustrations_sample(out: str, num_images: int = 400, size: int = 512, seed: int = 0) -> None:
    """Simulate illustrations of layered shapes and write each with its paint orders.

    Writes ``<out>/images/<category>/<0001>.png`` (RGB) and ``<out>/orders/<category>/<0001>.png`` (16-bit grey, 0 the
    background, 1 … n the layers from below), in the categories ``object``, ``landscape`` and ``arrangement``; and
    ``<out>/simulation.json``. A second run with the same settings adds missing images, and those of a larger
    ``num_images``. An image does not depend on their number.

    Args:
        out: Folder of the dataset: new, empty, or from a run with the same settings.
        num_images: Number of illustrations; half of them are of the category ``object``.
        size: Side of the images in pixels.
        seed: Seed of the illustrations.

    Raises:
        InputError: A number is out of range, or ``out`` holds other data.
    """
    if num_images < 1:
        raise InputError("--num_images", f"{num_images} is less than 1", "Give 1 or more.")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError("--size", f"{size} is out of range", f"Give a number from {MIN_SIZE} to {MAX_SIZE}.")
    if not 0 <= seed < 2**32:
        raise InputError("--seed", f"{seed} is out of range", "Give a number from 0 to 4294967295.")
    root = Path(out)
    claim_folder(root, {"seed": seed, "size": size, "categories": list(KINDS)})

    pairs = [_files(root, number) for number in range(num_images)]
    missing = [number for number, files in enumerate(pairs) if not all(path.is_file() for path in files)]
    # Threads suffice: rasterising and PNG encoding release the interpreter lock, and processes take long to start.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in progress(pool.map(partial(_write, root, size, seed), missing), "illustrations", len(missing)):
            pass
    existing = f" ({num_images - len(missing)} already exist)" if len(missing) < num_images else ""
    print(f"{root}: wrote {len(missing)} illustrations of {size}×{size} pixels{existing}")


def _files(root: Path, number: int) -> LayerPair:
    return layer_pair(root, PER_ROUND[number % len(PER_ROUND)], f"{number + 1:04d}")


def _write(root: Path, size: int, seed: int, number: int) -> None:
    # Seeds of different datasets never collide: the image number is in the upper 32 bits.
    illustration = draw_illustration(PER_ROUND[number % len(PER_ROUND)], number * 2**32 + seed, size)
    write_layer_pair(_files(root, number), *illustration)
