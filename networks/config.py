"""Settings of a network as a dataclass, shared by the network, its presets, the Lightning module and the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Config = TypeVar("Config")


def config_from(config_class: type[Config], value: Config | Mapping[str, Any]) -> Config:
    """Return ``value`` as a ``config_class``.

    Checkpoints hold plain dictionaries, since they are read with ``weights_only=True``.

    Args:
        config_class: Dataclass of settings.
        value: An instance of it, or a mapping of its fields.

    Raises:
        TypeError: The mapping has a key that is not a field.
    """
    return config_class(**value) if isinstance(value, Mapping) else value
