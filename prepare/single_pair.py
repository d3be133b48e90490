"""Extract one pair from an AerialMegaDepth dataset, for over-fit tests."""

from __future__ import annotations

import filecmp
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from configs import FOLDER
from formats.aerial_megadepth import Split, image_files, read_split, split_path, write_split
from formats.atomic import atomic_path, write_text
from formats.errors import InputError
from prepare.check_pairs import check_pairs

CONFIG_NAME = "single_pair.yaml"
OVERFIT = FOLDER / "pair_single_overfit.yaml"
MASKS = "seg"  # folder of the masks in the output
HEADER = """\
# Over-fit test of one pair: ends with PASS or FAIL and a report.
#
#   python cli.py fit --config {path}
#
# This trains the full VGGT (19 GB of GPU memory); start from the published weights with
# --model.published_checkpoint vggt_1b.pt. On a CPU, from random weights: add --config configs/overlays/tiny_pair.yaml.
"""


def single_pair(
    source_root: Path = Path("training/dataset_aerialmd/cropped"),
    source_seg_root: Path | None = None,
    source_npz: Path = Path("train.npz"),
    output_root: Path = Path("training/dataset_aerialmd_single"),
    pair_index: int = 0,
    create_config: bool = False,
) -> None:
    """Copy one pair into a separate dataset, for over-fit tests.

    Writes photographs, depth and cameras to ``<output_root>/<scene>/``, masks to ``<output_root>/seg/<scene>/``,
    and ``train.npz`` and ``val.npz`` that both hold that pair. Existing files with the same content are kept; if
    one has other content, nothing is written. Finally it prints the output of `check-pairs`.

    Args:
        source_root: Folder of the dataset with its scenes.
        source_seg_root: Folder of its masks; None finds them in ``<source_root>_seg`` or ``<source_root>/seg``.
        source_npz: Split file with the pair: a name in ``source_root``, or a path.
        output_root: Output folder.
        pair_index: Index of the pair in the split, from 0.
        create_config: Also write ``single_pair.yaml``, the over-fit test of ``configs/pair_single_overfit.yaml`` on
            this dataset, which ``fit --config`` runs.

    Raises:
        InputError: A folder is missing, the index is out of range, a file of the pair is missing or broken, or
            another file would be overwritten.
    """
    source_root = Path(source_root)
    if not source_root.is_dir():
        remedy = "Name the folder with the dataset's scenes with --source_root."
        raise InputError("--source_root", f"{source_root} is not a folder", remedy)
    source_seg_root = _mask_folder(source_root, source_seg_root)
    path = split_path(source_root, source_npz)
    if not path.is_file():
        fault = f"{source_npz} is neither a file in {source_root} nor a path"
        raise InputError("--source_npz", fault, "Name the split file, such as train.npz.")
    split = read_split(path)
    if not 0 <= pair_index < len(split):
        available = f"pairs 0 to {len(split) - 1}" if len(split) else "no pairs"
        fault = f"{pair_index} is out of range: {path} has {available}"
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

    config = output_root / CONFIG_NAME
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        _write_pair(made / "pair.npz", split, pair_index, images)
        copies |= {output_root / name: made / "pair.npz" for name in ("train.npz", "val.npz")}
        if create_config:
            write_text(made / CONFIG_NAME, overfit_config(output_root, config))
            copies[config] = made / CONFIG_NAME
        _copy_all(copies)
    print(f"{output_root}: pair {pair_index} of {path}, {images[0][1]} and {images[1][1]}")
    if create_config:
        check_pairs(configs=[str(config)])
        print(f"train on it: python cli.py fit --config {config}")
    else:
        check_pairs(output_root, masks)


def _mask_folder(root: Path, given: Path | None) -> Path:
    """Return the folder of masks.

    Raises:
        InputError: It is missing.
    """
    usual = (root.with_name(f"{root.resolve().name}_seg"), root / MASKS)
    for folder in usual if given is None else (Path(given),):
        if folder.is_dir():
            return folder
    fault = f"neither {usual[0]} nor {usual[1]} is a folder" if given is None else f"{given} is not a folder"
    raise InputError("--source_seg_root", fault, "Name the folder of the scenes' masks with --source_seg_root.")


def _write_pair(path: Path, split: Split, pair_index: int, images: list[tuple[str, str]]) -> None:
    scenes, names = [scene for scene, _ in images], [name for _, name in images]
    score = split.scores[pair_index : pair_index + 1]
    write_split(path, list(dict.fromkeys(scenes)), names, scenes, np.array([[0, 1]]), score)


def overfit_config(data_dir: Path, path: Path) -> str:
    """Return the shipped over-fit test with another dataset; its comments are kept.

    Args:
        data_dir: Folder of the dataset, with its masks in ``seg``.
        path: File that the text is for, named in its first lines.
    """
    settings = OVERFIT.read_text(encoding="utf-8")
    settings = settings[settings.index("seed_everything") :]
    for name, folder in (("data_dir", data_dir), ("segmentation_dir", data_dir / MASKS)):
        value = json.dumps(str(folder), ensure_ascii=False)  # quoted for YAML too
        before, key, after = settings.partition(f" {name}: ")
        settings = before + key + value + "\n" + after.partition("\n")[2]
    return HEADER.format(path=path) + settings


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
