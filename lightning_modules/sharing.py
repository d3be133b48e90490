"""Mixin for modules that are saved as a folder and shared on the Hugging Face hub."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from lightning import LightningModule
from torch import Tensor

from formats.errors import InputError
from formats.hub_files import PREFIX
from formats.model_card import ENTRIES
from formats.optional import require_package
from networks.pretrained_folder import load_weights, save_folder
from networks.shipped_weights import ShippedWeights


class SharingMixin(LightningModule):
    """Save weights, settings and a model card as a folder, and load them by path or name.

    Example::

        module.save_pretrained("my_model", {"licence": "Apache-2.0", "data": "200 pairs of my town"})
        module = PairDepthCameraModule.from_pretrained("my_model")

    Attributes:
        shipped: Name and card of the weights that the module was loaded from, without tensors; None for others.
    """

    TAGS: ClassVar[tuple[str, ...]] = ()  # of the model card

    shipped: ShippedWeights | None = None

    def weights_to_share(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors, and plain settings, among them those of the ``network``."""
        raise NotImplementedError

    @classmethod
    def from_weights(cls, weights: ShippedWeights) -> Self:
        """Build the module from what :meth:`weights_to_share` returned, or from weights of the repository."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path, card: Mapping[str, str] | None = None) -> Path:
        """Write ``model.safetensors``, ``config.json`` and a model card, ``README.md``.

        Args:
            folder: The folder; files of these names are replaced.
            card: Entries of the model card: ``summary``, ``data``, ``measures``, ``limits`` and ``licence``. Those left
                out are taken from the weights that the module was loaded from, or are "not stated".

        Returns:
            The folder.

        Raises:
            InputError: The card has another entry, or the network has no weights yet.
        """
        if unknown := (card or {}).keys() - ENTRIES.keys():
            raise InputError("card", f"has an entry '{min(unknown)}'", f"Choose from {', '.join(ENTRIES)}.")
        tensors, settings = self.weights_to_share()
        name = type(self).__name__
        known = self.shipped.card if self.shipped else {}
        entries = {entry: known.get(entry, text) for entry, text in ENTRIES.items()}
        entries = {**entries, **(card or {})}
        entries["summary"] = entries["summary"] or f"weights of a {name} of Trilight"
        return save_folder(folder, name, tensors, {**entries, **settings}, self.TAGS)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """Build the module with trained weights, in evaluation mode.

        Args:
            name: A folder that :meth:`save_pretrained` wrote, ``hf://owner/repository`` for one on the hub, or the name
                of weights of this repository.

        Raises:
            InputError: The weights are missing, damaged, or of another module.
        """
        weights = load_weights(name, cls.__name__)
        module = cls.from_weights(weights)
        module.shipped = replace(weights, tensors={})
        return module.eval()

    def push_to_hub(self, repository: str, card: Mapping[str, str] | None = None, private: bool = True) -> str:
        """Upload what :meth:`save_pretrained` writes to the Hugging Face hub, where you are signed in.

        Args:
            repository: ``owner/name``; made if it does not exist.
            card: Entries of the model card, see :meth:`save_pretrained`.
            private: Whether a new repository is visible to you only.

        Returns:
            Name for :meth:`from_pretrained`.
        """
        require_package("huggingface_hub")
        from huggingface_hub import HfApi

        api = HfApi()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, card)
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload weights of Trilight")
        return f"{PREFIX}{repository}"
