"""Training that starts from a trained generator and adds users to it.

Example::

    start = TrainedGenerator.read("last.ckpt")
    space = start.space.with_users_of(datamodule.latent_space)      # its statistics, and the users of both
    module.load_state_dict(start.state_for(module.state_dict(), space.user_ids))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formats.errors import InputError
from formats.finite import check_finite_checkpoint
from formats.hub_files import local_file
from formats.latent_space import CHECKPOINT_KEY, LatentSpace
from formats.training_checkpoint import read_training_checkpoint
from networks.lightning_dit import LightningDiTConfig

LABEL_TABLE = "network.y_embedder.embedding_table.weight"
SAME_SETTINGS = ("mixture_components", "mixture_rank", "mixture_until")  # the network is trained for later times only


@dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """Weights, users and settings of a training checkpoint.

    Args:
        path: The checkpoint.
        state: State dict of its UserConditionedDiTModule.
        space: Its users and latent statistics.
        settings: Its hyperparameters.
    """

    path: str
    state: Mapping[str, Tensor]
    space: LatentSpace
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> TrainedGenerator:
        """Read a checkpoint.

        Raises:
            InputError: It is missing, damaged, not finite, or not of a UserConditionedDiTModule.
        """
        content = read_training_checkpoint(local_file(path))
        if CHECKPOINT_KEY not in content or not isinstance(content.get("hyper_parameters", {}).get("network"), dict):
            remedy = "Use a checkpoint that `fit` of UserConditionedDiTModule wrote."
            raise InputError(path, "holds no users and latent statistics", remedy)
        check_finite_checkpoint(str(path), content, False, "Use an earlier checkpoint.")
        space = LatentSpace.from_checkpoint(content[CHECKPOINT_KEY])
        return cls(str(path), content["state_dict"], space, content["hyper_parameters"])

    def check_same(self, network: LightningDiTConfig, settings: Mapping[str, Any]) -> None:
        """Check that a module is built as this generator, except for the number of users.

        Raises:
            InputError: A setting differs.
        """
        stored, own = self.settings["network"], asdict(network)
        pairs = {f"network.{name}": (stored.get(name), own[name]) for name in own if name != "num_classes"}
        pairs |= {name: (self.settings.get(name), settings[name]) for name in SAME_SETTINGS}
        if not pairs["mixture_components"][1]:
            pairs = {name: pair for name, pair in pairs.items() if name not in SAME_SETTINGS[1:]}
        differing = [f"{name} is {old} there and {new} here" for name, (old, new) in pairs.items() if old != new]
        if differing:
            remedy = "Use the configuration files that the checkpoint was trained with."
            raise InputError(self.path, f"is of another model: {', '.join(differing)}", remedy)

    def new_classes(self, user_ids: Tensor) -> list[int]:
        """Return the classes of the users (K,) that this generator does not know."""
        return (~torch.isin(user_ids, self.space.user_ids)).nonzero().flatten().tolist()

    def state_for(self, own: Mapping[str, Tensor], user_ids: Tensor) -> dict[str, Tensor]:
        """Return the state dict of a module with more users.

        Rows of known users and the row "no label" are copied. Rows of new users keep their initial values; in the label
        table the mean of all known users is added, so that a new user starts as an average person.

        Args:
            own: State dict of the module as it was built.
            user_ids: (K,) users of the module, ascending, with all users of this generator.

        Raises:
            InputError: A tensor is missing or has another shape.
        """
        places = torch.searchsorted(user_ids, self.space.user_ids)
        state = {}
        for name, tensor in own.items():
            stored = self.state.get(name)
            if stored is None or stored.shape[1:] != tensor.shape[1:]:
                fault = f"has no {name} of shape {tuple(tensor.shape)}"
                raise InputError(self.path, fault, "Use the configuration files that it was trained with.")
            per_user = name == LABEL_TABLE or name.startswith("mixture.")
            state[name] = _with_rows(tensor, stored, places) if per_user else stored
        new = self.new_classes(user_ids)
        state[LABEL_TABLE][new] += self.state[LABEL_TABLE][: len(places)].float().mean(0)
        return state


def _with_rows(own: Tensor, stored: Tensor, places: Tensor) -> Tensor:
    """Copy the stored rows of known users to their places, and those after them, "no label", to the end."""
    rows, known = own.clone(), len(places)
    rows[places] = stored[:known].to(rows)
    if len(stored) > known:
        rows[known - len(stored) :] = stored[known:].to(rows)
    return rows
