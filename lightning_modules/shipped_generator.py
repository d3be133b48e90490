"""A trained generator of spectrograms as weights of the repository: network, tokenizer and latent space in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formats.errors import InputError
from formats.hub_files import is_hub_name
from formats.latent_shards import LatentStatistics
from formats.latent_space import LatentSpace
from formats.spectrogram_axes import SpectrogramAxes
from networks.config import config_from
from networks.lightning_dit import LightningDiTConfig
from networks.shipped_weights import ShippedWeights, save_shipped
from networks.tokenizers import LappedPCA, Tokenizer
from weights import FOLDER

SAMPLING = (
    "sampler",
    "num_steps",
    "time_shift",
    "guidance_scale",
    "guidance_interval_start",
    "guidance_interval_end",
)
MIXTURE = ("mixture_components", "mixture_until", "mixture_rank", "mixture_neighbours")


def save_generator(
    name: str,
    state: Mapping[str, Tensor],
    config: LightningDiTConfig,
    space: LatentSpace,
    tokenizer: LappedPCA,
    card: Mapping[str, Any],
    folder: Path = FOLDER,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a generator and its card.

    Args:
        name: Name of the weights.
        state: State dict of a UserConditionedDiTModule: ``network.…``, and ``mixture.…`` if it has a mixture.
        config: Settings of its network.
        space: Statistics and users of its training.
        tokenizer: Tokenizer of its training.
        card: Entries that ``networks.shipped_weights`` requires, ``sampling`` with those of ``SAMPLING``, and
            ``mixture`` with those of ``MIXTURE``.
        folder: Folder of the weights.
        dtype: Type in which floating-point tensors are stored.

    Returns:
        Path of the tensor file.
    """
    tensors, content = generator_parts(state, config, space, tokenizer)
    return save_shipped(name, tensors, {**card, **content}, folder, dtype)


def generator_parts(
    state: Mapping[str, Tensor], config: LightningDiTConfig, space: LatentSpace, tokenizer: Tokenizer | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a generator and plain values, see :func:`save_generator`.

    A LappedPCA is among the tensors. Others are published by themselves: their name and fingerprint are kept, the name
    only if it is one on the hub.
    """
    tensors = dict(state)
    tensors |= {"mean": space.statistics.mean, "std": space.statistics.std, "user_ids": space.user_ids}
    content: dict[str, Any] = {"network": asdict(config), "policy": space.policy, "multiplier": space.multiplier}
    content["axes"] = space.axes.to_dict() if space.axes else None
    if isinstance(tokenizer, LappedPCA):
        tensors |= {f"tokenizer.{key}": value for key, value in tokenizer.state_dict().items()}
    else:
        content["tokenizer"] = space.tokenizer if is_hub_name(space.tokenizer) else ""
        content["tokenizer_fingerprint"] = space.tokenizer_fingerprint
    return tensors, content


def restore_generator(
    weights: ShippedWeights,
) -> tuple[LightningDiTConfig, dict[str, Tensor], LatentSpace, Tokenizer | None]:
    """Return network settings, the module's state dict, latent space and tokenizer of trained weights.

    Raises:
        InputError: The weights are not those of a generator.
    """
    tensors, card = weights.tensors, weights.card
    has_tokenizer = "tokenizer.components" in tensors or "tokenizer" in card
    if (
        not has_tokenizer
        or not {"mean", "std", "user_ids"} <= tensors.keys()
        or not {"network", "policy", "multiplier", "sampling", "mixture"} <= card.keys()
    ):
        names = "those of a generator, such as spectrograms_simulated"
        raise InputError(f"weights '{weights.name}'", "are not of a spectrogram generator", f"Name {names}.")
    tokenizer, name, fingerprint = None, str(card.get("tokenizer", "")), str(card.get("tokenizer_fingerprint", ""))
    if "tokenizer.components" in tensors:
        tokenizer = LappedPCA.from_state(_part(tensors, "tokenizer."), f"weights '{weights.name}'")
        tokenizer.eval().requires_grad_(False)
        fingerprint = tokenizer.fingerprint()
    space = LatentSpace(
        LatentStatistics(tensors["mean"], tensors["std"]),
        card["policy"],
        float(card["multiplier"]),
        tensors["user_ids"],
        tokenizer=name,
        tokenizer_fingerprint=fingerprint,
        axes=SpectrogramAxes.from_dict(card["axes"], f"weights '{weights.name}'") if card.get("axes") else None,
    )
    config = config_from(LightningDiTConfig, card["network"])
    state = {key: value for key, value in tensors.items() if key.startswith(("network.", "mixture."))}
    return config, state, space, tokenizer


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
