"""Extract one pair from an AerialMegaDepth dataset, and check pairs as training loads them."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from pathlib import Path

import numpy as np
import yaml
from torch import Tensor

from batches.pair import PairBatch
from datamodules.aerial_megadepth.dataset import AerialMegaDepthDataset, PairOptions
from datamodules.aerial_megadepth.views import DEPTH_PERCENTILE, MAX_DEPTH
from formats.aerial_megadepth import Split, image_files, read_split, write_split
from formats.atomic import atomic_path, write_text
from formats.errors import InputError

CONFIG_NAME = "single_pair.yaml"
MASKS = "seg"  # folder of the masks in the output


def single_pair(
    source_root: Path,
    source_seg_root: Path,
    source_npz: Path,
    output_root: Path,
    pair_index: int = 0,
    create_config: bool = False,
) -> None:
    """Copy one pair into a separate dataset, for over-fit tests.

    Writes photographs, depth and cameras to ``<output_root>/<scene>/``, masks to ``<output_root>/seg/<scene>/``,
    and ``train.npz`` and ``val.npz`` that both hold that pair. Existing files with the same content are kept; if
    one has other content, nothing is written. Finally it prints the output of `check-pairs`.

    Args:
        source_root: Folder of the dataset with its scenes.
        source_seg_root: Folder of its masks.
        source_npz: Split file with the pair.
        output_root: Output folder.
        pair_index: Index of the pair in the split, from 0.
        create_config: Also write ``single_pair.yaml``, to be added with --config to the task's configuration: this
            dataset, batches of one pair, 100 epochs, every step logged.

    Raises:
        InputError: The index is out of range, a file of the pair is missing or broken, or another file would be
            overwritten.
    """
    split = read_split(source_npz)
    if not 0 <= pair_index < len(split):
        available = f"pairs 0 to {len(split) - 1}" if len(split) else "no pairs"
        fault = f"{pair_index} is out of range: {source_npz} has {available}"
        raise InputError("--pair_index", fault, "Choose one of these." if len(split) else "Name another split.")
    images = [split.image(int(image)) for image in split.pairs[pair_index]]
    output_root, masks = Path(output_root), Path(output_root) / MASKS
    copies: dict[Path, Path] = {}
    for scene, image in images:
        sources = image_files(source_root, source_seg_root, scene, image).all()
        for source, kind in zip(sources, ("image", "depth", "camera", "mask"), strict=True):
            if not source.is_file():
                fault = f"the {kind} of pair {pair_index} is missing"
                raise InputError(source, fault, "Complete the data, or choose another --pair_index.")
        copies.update(zip(image_files(output_root, masks, scene, image).all(), sources, strict=True))
    if images[0][0] != images[1][0]:
        print(f"pair {pair_index} spans two scenes, {images[0][0]} and {images[1][0]}: both folders are written")

    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        _write_pair(made / "pair.npz", split, pair_index, images)
        copies |= {output_root / name: made / "pair.npz" for name in ("train.npz", "val.npz")}
        if create_config:
            write_text(made / CONFIG_NAME, _config(output_root))
            copies[output_root / CONFIG_NAME] = made / CONFIG_NAME
        _copy_all(copies)
    print(f"{output_root}: pair {pair_index} of {source_npz}, {images[0][1]} and {images[1][1]}")
    if create_config:
        print(f"add --config {output_root / CONFIG_NAME} to the task's configuration to train on it")
    check_pairs(output_root, masks, output_root / "train.npz")


def _write_pair(path: Path, split: Split, pair_index: int, images: list[tuple[str, str]]) -> None:
    scenes, names = [scene for scene, _ in images], [name for _, name in images]
    score = split.scores[pair_index : pair_index + 1]
    write_split(path, list(dict.fromkeys(scenes)), names, scenes, np.array([[0, 1]]), score)


def _config(output_root: Path) -> str:
    settings = {"data_dir": str(output_root), "segmentation_dir": str(output_root / MASKS)}
    settings |= {"train_split": "train.npz", "val_split": "val.npz"}
    content = {
        "data": {"class_path": "AerialMegaDepthDataModule", "init_args": {**settings, "batch_size": 1}},
        "trainer": {"max_epochs": 100, "log_every_n_steps": 1, "check_val_every_n_epoch": 1},
    }
    about = "# One pair for an over-fit test: add this file with a further --config.\n"
    return about + yaml.safe_dump(content, sort_keys=False)


def _copy_all(copies: dict[Path, Path]) -> None:
    """Copy sources to targets, after checking that no target has other content."""
    for target, source in copies.items():
        if target.exists() and not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            remedy = "Name a new --output_root, or remove this one first."
            raise InputError(target, "exists with other content and is not overwritten", remedy)
    for target, source in copies.items():
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)


def check_pairs(
    root: Path,
    seg_root: Path | None = None,
    npz: Path | None = None,
    limit: int | None = None,
    image_size: int = 518,
    max_depth: float = MAX_DEPTH,
    depth_percentile: float = DEPTH_PERCENTILE,
) -> None:
    """Load pairs as in training, and print the shapes, valid depth and depth range of every image.

    Args:
        root: Folder of the dataset with its scenes.
        seg_root: Folder of its masks; None keeps the sky.
        npz: Split file; None uses ``<root>/train.npz``.
        limit: Number of pairs to check, starting with the first; None checks all.
        image_size: Longer side in pixels, a multiple of 14.
        max_depth: Maximum depth in metres.
        depth_percentile: Depths above this percentile of an image are outliers; 100 keeps all.

    Raises:
        InputError: The split cannot be read, or pairs cannot be used; each of them is printed.
    """
    if image_size < 14 or image_size % 14:
        raise InputError("--image_size", f"must be a positive multiple of 14, not {image_size}", "Try 518.")
    path = Path(root) / "train.npz" if npz is None else Path(npz)
    options = PairOptions(image_size, max_depth=max_depth, depth_percentile=depth_percentile, on_error="skip")
    dataset = AerialMegaDepthDataset(read_split(path), root, seg_root, options)
    for fault in dataset.left_out:
        print(fault)
    unusable, checked = len(dataset.left_out), range(len(dataset))[:limit]
    for index in checked:
        batch = dataset.__getitems__([index])
        for fault in batch["faults"]:
            print(fault)
        unusable += len(batch["faults"])
        if not batch["faults"]:
            _print_pair(batch, [files.image for files in dataset.files(index)])
    if unusable:
        remedy = "Repair or remove the files named above, or train with --data.on_error skip."
        raise InputError(path, f"{unusable} of {len(checked) + len(dataset.left_out)} pairs cannot be used", remedy)
    print(f"{path}: {len(checked)} of {len(dataset)} pairs checked, all can be used")


def _print_pair(batch: PairBatch, paths: list[Path]) -> None:
    print(batch["seq_name"][0])
    for view, path in enumerate(paths):
        depth, mask = batch["depths"][0, view], batch["point_masks"][0, view]
        valid, count = depth[mask], int(mask.sum())
        print(f"  {path}")
        print(
            f"    image {_shape(batch['images'][0, view])}  depth {_shape(depth)}  "
            f"extrinsics {_shape(batch['extrinsics'][0, view])}  intrinsics {_shape(batch['intrinsics'][0, view])}"
        )
        print(
            f"    valid depth {count} of {mask.numel()} pixels ({100 * count / mask.numel():.1f} %)  "
            f"range {float(valid.min()):.2f} to {float(valid.max()):.2f} m"
        )


def _shape(tensor: Tensor) -> str:
    return "×".join(str(side) for side in tensor.shape)
