"""Check of pairs as training loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from datamodules.aerial_megadepth.dataset import AerialMegaDepthDataset, LoadedPairs
from formats.aerial_megadepth import split_path
from formats.errors import InputError
from formats.progress import progress
from prepare.check_data import data_settings

SHOWN = ("images", "depths", "point_masks", "extrinsics", "intrinsics")


def check_pairs(
    root: Path | None = None,
    seg_root: Path | None = None,
    npz: Path | None = None,
    configs: list[str] | None = None,
    limit: int | None = None,
    image_size: int | None = None,
    max_depth: float | None = None,
    depth_percentile: float | None = None,
) -> None:
    """Load pairs as in training, and print the shapes of each batch, and valid depth and its range of every image.

    With ``--config``, the datasets, batches and options are those that ``fit`` uses with it; augmentation is left out.

    Args:
        root: Folder of the dataset with its scenes.
        seg_root: Folder of its masks; None keeps the sky, or takes the folder of the configuration.
        npz: Split file, a path or a name in the dataset's folder; None uses ``train.npz``, or the splits of the
            configuration.
        configs: Configuration files of a training, each after ``--config`` as for ``fit``; the other options override
            them.
        limit: Number of pairs to check, starting with the first; None checks all.
        image_size: Longer side in pixels, a multiple of 14; 518 if neither this nor a configuration sets it.
        max_depth: Maximum depth in metres; 2000 likewise.
        depth_percentile: Depths above this percentile of an image are outliers; 98 likewise, and 100 keeps all.

    Raises:
        InputError: A split cannot be read, or pairs cannot be used; each of them is printed.
    """
    if image_size is not None and (image_size < 14 or image_size % 14):
        raise InputError("--image_size", f"must be a positive multiple of 14, not {image_size}", "Try 518.")
    settings: dict[str, Any] = {}
    if configs:
        settings = data_settings(configs, (AerialMegaDepthDataModule.__name__,))[1]
        print(f"configuration: {', '.join(configs)}")
    elif root is None:
        raise InputError("--root", "is not set", "Name the folder of the dataset, or a configuration with --config.")
    given = {"data_dir": root, "segmentation_dir": seg_root}
    settings |= {name: str(folder) for name, folder in given.items() if folder is not None}
    options = {"image_size": image_size, "max_depth": max_depth, "depth_percentile": depth_percentile}
    settings |= {name: value for name, value in options.items() if value is not None}
    if npz is not None or not configs:
        path = split_path(settings["data_dir"], npz or Path("train.npz"))
        settings["train_split"] = settings["val_split"] = str(path.resolve())
    data = _datamodule(settings, "--root" if root is not None else ", ".join(configs or ()))
    paths = {name: data.data_dir / split for name, split in data.splits.items()}
    is_same = paths["val"].read_bytes() == paths["train"].read_bytes()
    _check_split(data, "train", paths["train"], limit)
    if not is_same:
        _check_split(data, "val", paths["val"], limit)
    elif configs:
        print(f"validation dataset: {paths['val']}, the pairs of training")


def _datamodule(settings: dict[str, Any], where: str) -> AerialMegaDepthDataModule:
    try:
        data = AerialMegaDepthDataModule(**settings | {"on_error": "skip", "num_workers": 0})
    except TypeError as error:
        raise InputError(where, f"has wrong data.init_args: {error}", "Correct them.") from error
    data.samples_to_check = 0  # all are, later
    data.prepare_data()
    data.setup("fit")
    return data


def _check_split(data: AerialMegaDepthDataModule, name: str, path: Path, limit: int | None) -> None:
    """Print all batches of a split, and raise an error if pairs cannot be used."""
    dataset, stage = data.datasets[name], {"train": "training", "val": "validation"}[name]
    loader = data.train_dataloader() if name == "train" else data.val_dataloader()
    print(f"{stage} dataset: {path}, {_counted(len(dataset), 'pair')}")
    print(f"{stage} loader: {_counted(len(loader), 'batch', 'es')} of {_counted(data.batch_size, 'pair')} per epoch")
    plain = AerialMegaDepthDataset(dataset.split, dataset.root, dataset.segmentation_root, dataset.options)
    for fault in plain.left_out:
        print(fault)
    unusable, checked = len(plain.left_out), range(len(plain))[:limit]
    for start in progress(range(0, len(checked), data.batch_size), f"{stage} batches"):
        indices = list(checked[start : start + data.batch_size])
        batch = plain.__getitems__(indices)
        for fault in batch["faults"]:
            print(fault)
        unusable += len(batch["faults"])
        _print_batch(batch, plain, indices)
    if unusable:
        remedy = "Repair or remove the files named above, or train with --data.on_error skip."
        raise InputError(path, f"{unusable} of {len(checked) + len(plain.left_out)} pairs cannot be used", remedy)
    print(f"{path}: {len(checked)} of {len(plain)} pairs checked, all can be used")


def _print_batch(batch: LoadedPairs, dataset: AerialMegaDepthDataset, indices: list[int]) -> None:
    """Print the shapes of a batch, and each of its pairs that can be used."""
    usable = [row for row, weight in enumerate(batch["weights"].tolist()) if weight > 0]
    if not usable:
        return
    tensors: dict[str, Any] = {name: value for name, value in batch.items() if name in SHOWN}
    print(f"batch: {', '.join(f'{name} {list(tensors[name].shape)}' for name in SHOWN)}")
    for row in usable:
        print(f"  {batch['seq_name'][row]}")
        for view, files in enumerate(dataset.files(indices[row])):
            depth, mask = batch["depths"][row, view], batch["point_masks"][row, view]
            count, low, high = int(mask.sum()), float(depth[mask].min()), float(depth[mask].max())
            share = f"{count}/{mask.numel()} ({100 * count / mask.numel():.1f} %)"
            print(f"    {files.image}: valid pixels {share}, depth {low:.2f} to {high:.2f} m")


def _counted(count: int, noun: str, ending: str = "s") -> str:
    return f"{count} {noun}{'' if count == 1 else ending}"
