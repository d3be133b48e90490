"""Trained weights as a folder: ``model.safetensors``, ``config.json`` and a model card, ``README.md``.

Folders are shared on the Hugging Face hub. ``config.json`` holds the class of the module, the settings of the network
and the SHA-256 of the tensors, next to the entries of the card; it names nothing that would be imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.hub_files import is_hub_name, local_folder
from formats.local_files import read_json_object
from formats.model_card import ENTRIES, model_card
from networks.shipped_weights import (
    ShippedWeights,
    available,
    file_sha256,
    load_shipped,
    read_tensors,
    tensor_bytes,
)

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
REMEDY = "Name a folder that save_pretrained wrote, or write it again."


def save_folder(
    folder: str | Path, module: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any], tags: Sequence[str]
) -> Path:
    """Write weights, settings and model card.

    Args:
        folder: The folder; files of the same names are replaced.
        module: Class of the module.
        tensors: Its weights.
        config: Plain values: ``network``, the entries of ``formats.model_card.ENTRIES``, and others.
        tags: Tags for the hub.

    Returns:
        The folder.
    """
    folder = Path(folder)
    paths = [folder / name for name in (WEIGHTS, CONFIG, CARD)]
    with atomic_path(paths[2]) as card, atomic_path(paths[1]) as settings, atomic_path(paths[0]) as weights:
        weights.write_bytes(tensor_bytes(tensors))
        content = {"library_name": "trilight", "module": module, "sha256": file_sha256(weights), **config}
        settings.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        card.write_text(model_card(module, content, tags), encoding="utf-8")
    return folder


def load_weights(name: str | Path, module: str) -> ShippedWeights:
    """Load trained weights.

    Args:
        name: A folder that :func:`save_folder` wrote; ``hf://owner/repository`` for one on the hub; or the name of
            weights of this repository, such as ``region_order``.
        module: Class of the module that they must be of, where they are in a folder.

    Raises:
        InputError: They are missing, damaged, or of another module.
    """
    if not is_hub_name(name) and not Path(name).is_dir():
        if str(name) in available():
            return load_shipped(str(name))
        remedy = f"{REMEDY} Weights of the repository: {', '.join(available())}. On the hub: hf://owner/repository."
        raise InputError(str(name), "no such folder or weights", remedy)
    folder = local_folder(name, (CONFIG, WEIGHTS))
    config = read_json_object(folder / CONFIG, REMEDY)
    if config.get("module") != module:
        fault = f"holds the weights of {config.get('module', 'an unknown module')}, not of {module}"
        raise InputError(str(name), fault, f"Name weights of {module}.")
    if missing := [key for key in (*ENTRIES, "network") if key not in config]:
        raise InputError(folder / CONFIG, f"has no entry {missing[0]}", REMEDY)
    return ShippedWeights(str(name), read_tensors(folder / WEIGHTS, config.get("sha256"), CONFIG, REMEDY), config)
