"""Check of all samples that an experiment trains and validates on."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningDataModule

from configs import find_config, overlays_after_experiment
from datamodules.content_check import value_faults
from datamodules.latents import LatentDataset
from datamodules.spectrograms import SpectrogramDataModule
from formats.errors import InputError
from formats.progress import progress

# Modules of the datamodules, each imported when it is used, since others may need packages that are not installed.
CLASSES = {
    "AerialMegaDepthDataModule": "datamodules.aerial_megadepth",
    "LatentDataModule": "datamodules.latents",
    "LayeredArtDataModule": "datamodules.layered_art",
    "RegionGraphDataModule": "datamodules.region_graphs",
    "SpectrogramDataModule": "datamodules.spectrograms",
}
SKIPPING = ("AerialMegaDepthDataModule", "LayeredArtDataModule")
LATENTS_AT_ONCE = 256


def check_data(configs: list[str], data_dir: str | None = None) -> None:
    """Read every sample of an experiment, and list those that cannot be used.

    A sample is at fault if its files cannot be read, or if it holds values that are NaN, infinite or over 10⁸ in size.

    Args:
        configs: Configuration files of the experiment, each after ``--config`` as for ``fit``; later files override
            earlier ones.
        data_dir: Folder of the data, in place of that of the configuration.

    Raises:
        InputError: Samples cannot be used; each of them is printed.
    """
    data = _datamodule(configs, data_dir)
    data.samples_to_check = 0  # all are, below
    data.prepare_data()
    data.setup("predict" if isinstance(data, SpectrogramDataModule) else "fit")
    checked, unusable = [], 0
    for split, dataset in data.datasets.items():
        faults = list(getattr(dataset, "left_out", ()))
        size = LATENTS_AT_ONCE if isinstance(dataset, LatentDataset) else 1
        for start in progress(range(0, len(dataset), size), f"{split} batches"):
            faults += _faults(dataset, list(range(start, min(start + size, len(dataset)))))
        for fault in faults:
            print(f"{split}: {fault}")
        unusable += len({fault.partition(": ")[0] for fault in faults})
        checked.append(f"{len(dataset) + len(getattr(dataset, 'left_out', ()))} {split}")
    if unusable:
        remedy = "Repair or remove the samples named above; image datasets can also be trained with on_error: skip."
        raise InputError(", ".join(configs), f"{unusable} samples cannot be used, of {' and '.join(checked)}", remedy)
    print(f"{' and '.join(checked)} samples checked, all can be used")


def _faults(dataset: Any, indices: list[int]) -> list[str]:
    try:
        batch = dataset.__getitems__(indices)
    except InputError as fault:
        return [str(fault)]
    return [*batch.pop("faults", ()), *value_faults(batch)]


def _datamodule(configs: list[str], data_dir: str | None) -> Any:
    """Build the datamodule that configuration files name."""
    class_name, settings = data_settings(configs, tuple(CLASSES))
    if data_dir is not None:
        settings["data_dir"] = data_dir
        settings.pop("val_data_dir", None)
    if class_name in SKIPPING:
        settings["on_error"] = "skip"  # and listed
    try:
        kind: type[LightningDataModule] = getattr(importlib.import_module(CLASSES[class_name]), class_name)
        return kind(**settings)
    except TypeError as error:
        raise InputError(", ".join(configs), f"has wrong data.init_args: {error}", "Correct them.") from error


def data_settings(configs: list[str], classes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the class and arguments of the datamodule that configuration files name.

    Args:
        configs: Configuration files; later files override earlier ones.
        classes: Names of the classes that can be checked.

    Raises:
        InputError: A file cannot be read, or the class is not one of these.
    """
    class_name, settings = "", dict[str, Any]()
    for path in overlays_after_experiment([find_config(name) for name in configs], lambda path: path):
        data = _read(path).get("data") or {}
        class_name = str(data.get("class_path") or class_name).rpartition(".")[2]
        settings |= data.get("init_args") or {}
    if class_name not in classes:
        fault = f"names the datamodule '{class_name}'" if class_name else "names no datamodule"
        raise InputError(", ".join(configs), fault, f"Give data.class_path, one of {', '.join(classes)}.")
    return class_name, settings


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as fault:
        reason = " ".join(str(fault).split())
        raise InputError(path, f"cannot be read as YAML: {reason}", "Name a configuration file.") from fault
    if not isinstance(content, dict):
        raise InputError(path, "does not hold settings", "Name a configuration file.")
    return content
