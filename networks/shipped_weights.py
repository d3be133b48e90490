"""Trained weights that come with the repository: ``weights/<name>.safetensors`` with a card, ``<name>.yaml``.

A card tells where the weights come from and what they are worth: ``REQUIRED`` lists its entries. It holds the
SHA-256 of the tensor file, which is checked on load.

Example::

    weights = load_shipped("depth_simulated")
    print(weights.summary())
    network = VGGT(config_from(VGGTConfig, weights.card["network"]))
    network.load_state_dict(weights.tensors)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save
from torch import Tensor

from formats.atomic import atomic_path
from formats.errors import InputError
from formats.local_files import read_yaml, require_file
from weights import FOLDER

REQUIRED = {
    "summary": "one sentence: what the weights do and what they were trained on",
    "data": "the data that they were trained on",
    "command": "the command that makes them again",
    "training_time": "duration of the training",
    "hardware": "machine of the training",
    "measures": "results on data not used in choosing anything, with the baselines' results",
    "limits": "what they cannot do",
    "licence": "licence of the weights",
}


@dataclass(frozen=True, eq=False)
class ShippedWeights:
    """Tensors with their card.

    Args:
        name: Name of the weights: that of the files, without suffix.
        tensors: State dict; floating-point tensors are float32, however they are stored.
        card: Entries of the card, such as ``summary`` and ``network``.
    """

    name: str
    tensors: dict[str, Tensor]
    card: dict[str, Any]

    def summary(self) -> str:
        """Return one line for the log: name and origin."""
        return f"weights '{self.name}' from the repository: {self.card['summary']}"


def available(folder: Path | None = None) -> list[str]:
    """Names of the weights in the folder, sorted."""
    return sorted(path.stem for path in (folder or FOLDER).glob("*.safetensors"))


def load_shipped(name: str, folder: Path | None = None) -> ShippedWeights:
    """Load weights by name and compare the file with the fingerprint on its card.

    Args:
        name: Name of the weights, such as ``depth_simulated``.
        folder: Folder of the weights; by default that of the repository.

    Raises:
        InputError: A file is missing or damaged, the card is incomplete, or the fingerprint differs.
    """
    path = (folder or FOLDER) / f"{name}.safetensors"
    if not path.is_file():
        remedy = f"Choose from {', '.join(available(folder)) or 'none'}, or make them with make weights NAME={name}."
        raise InputError(path, "no such file", remedy)
    card = read_card(name, folder)
    remedy = f"Restore the file from the repository, or make it again with make weights NAME={name}."
    return ShippedWeights(name, read_tensors(path, card["sha256"], f"{name}.yaml", remedy), card)


def read_tensors(path: Path, sha256: object, where: str, remedy: str) -> dict[str, Tensor]:
    """Read a file of tensors whose SHA-256 is known; floating-point tensors become float32.

    Args:
        path: The file.
        sha256: Its SHA-256, in hexadecimal digits.
        where: Name of the file that states it.
        remedy: Remedy suggested by errors.

    Raises:
        InputError: The file is missing or damaged, or its SHA-256 differs.
    """
    if file_sha256(require_file(path, remedy)) != sha256:
        raise InputError(path, f"does not have the SHA-256 that {where} states", remedy)
    try:
        content = load_file(path)
    except Exception as error:  # a damaged file can raise nearly anything
        raise InputError(path, "is damaged or not a safetensors file", remedy) from error
    return {key: value.float() if value.is_floating_point() else value for key, value in content.items()}


def save_shipped(
    name: str,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    folder: Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write weights and their card, with the fingerprint added to it.

    Args:
        name: Name of the weights.
        tensors: State dict.
        card: Entries of the card: those of ``REQUIRED`` and others, such as ``network``.
        folder: Folder of the weights; by default that of the repository.
        dtype: Type in which floating-point tensors are stored.

    Returns:
        Path of the tensor file.

    Raises:
        ValueError: The card lacks an entry.
    """
    _require(name, card)
    folder = folder or FOLDER
    path = folder / f"{name}.safetensors"
    # Both files are complete before either is renamed: a kill between the renames is the only one that load_shipped
    # refuses.
    with atomic_path(folder / f"{name}.yaml", sync=True) as new_card, atomic_path(path, sync=True) as temporary:
        temporary.write_bytes(tensor_bytes(tensors, dtype))
        content = {"name": name, "sha256": file_sha256(temporary), **card}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        new_card.write_text(text, encoding="utf-8")
    return path


def tensor_bytes(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> bytes:
    """Return the content of a safetensors file; safetensors' own save_file leaves files behind if killed.

    Args:
        tensors: State dict; tensors may share memory.
        dtype: Type in which floating-point tensors are stored.
    """
    stored = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tensors.items()}
    return save({key: value.detach().cpu().contiguous().clone() for key, value in stored.items()})


def read_card(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Read the card of weights.

    Args:
        name: Name of the weights.
        folder: Folder of the weights; by default that of the repository.

    Raises:
        InputError: The card is missing or incomplete.
    """
    path, remedy = (folder or FOLDER) / f"{name}.yaml", "Restore the card from the repository."
    card = read_yaml(path, remedy)
    try:
        _require(path.stem, card)
    except (ValueError, TypeError) as error:
        fault = str(error).splitlines()[0] if isinstance(error, ValueError) else "is not a card in YAML"
        raise InputError(path, fault, remedy) from error
    if not isinstance(card.get("sha256"), str):
        raise InputError(path, "has no entry sha256", remedy)
    return dict(card)


def _require(name: str, card: Any) -> None:
    if not isinstance(card, Mapping):
        raise TypeError(f"the card of {name} must be a mapping")
    for entry, meaning in REQUIRED.items():
        if not card.get(entry):
            raise ValueError(f"the card of {name} has no entry {entry} ({meaning})")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
