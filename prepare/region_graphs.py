"""Measure the colour regions of layered art once, so that training does not measure them again in every epoch."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from datamodules.layered_art_dataset import ArtFile, first_samples
from decomposition.colour_regions import colour_regions
from decomposition.region_graph import RegionGraph, region_graph
from formats.atomic import atomic_path
from formats.errors import InputError
from formats.layered_art.base import ArtSample, LayeredArt
from formats.layered_art.layouts import open_layered_art
from formats.local_files import path_within
from formats.progress import progress
from prepare.output_folder import claim_folder


def region_graphs(data_dir: str, out: str, limit: int | None = None, num_workers: int | None = None) -> None:
    """Measure the colour regions of layered art, for training the region order network.

    Writes ``<out>/<category>/<name>.safetensors`` per image with at least two regions. Run again, it adds what is
    missing.

    Args:
        data_dir: Folder of layered art, in any layout of `LayeredArtDataModule`.
        out: Folder of the measurements: new, empty, or from a run with the same settings.
        limit: Largest number of images, chosen by a hash of their names; None takes all.
        num_workers: Processes; by default one per core.

    Raises:
        InputError: A folder or a file cannot be used.
    """
    if limit is not None and limit < 1:
        raise InputError("--limit", f"{limit} is less than 1", "Give 1 or more, or leave it out.")
    art = open_layered_art(Path(data_dir), "auto")
    folder = Path(out)
    claim_folder(folder, {"data_dir": str(Path(data_dir).resolve())}, "region_graphs.json")
    files = first_samples((ArtFile(art, sample) for sample in art.samples), limit, 0)
    samples = [file.sample for file in files if not _path(folder, file.sample).is_file()]
    workers = num_workers or len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        measured = pool.map(_measure, [art] * len(samples), samples, [folder] * len(samples), chunksize=4)
        written = sum(progress(measured, "images", len(samples)))
    print(f"{folder}: {written} images measured")


def ordered_regions(
    image: NDArray[np.uint8], orders: NDArray[np.uint16]
) -> tuple[RegionGraph, NDArray[np.float32]] | None:
    """Return the region graph of an image and the median paint order of each region; None for a single region."""
    labels = colour_regions(image)
    if not labels.any():
        return None
    return region_graph(image, labels), region_orders(labels, orders)


def region_orders(labels: NDArray[np.int32], orders: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the median paint order (N,) of each region."""
    ascending = np.lexsort((orders.reshape(-1), labels.reshape(-1)))
    areas = np.bincount(labels.reshape(-1))
    middle = np.cumsum(areas) - areas + areas // 2
    return np.asarray(orders.reshape(-1)[ascending][middle], np.float32)


def _path(folder: Path, sample: ArtSample) -> Path:
    return path_within(folder, f"{sample.category}/{sample.name}.safetensors", sample.path)


def _measure(art: LayeredArt, sample: ArtSample, folder: Path) -> bool:
    image, orders, _ = art.read(sample)
    measured = ordered_regions(image, orders)
    if measured is None:
        return False
    graph, medians = measured
    with atomic_path(_path(folder, sample), sync=True) as temporary:
        temporary.write_bytes(save({**vars(graph), "orders": medians}))
    return True
