"""Settings of a network as a dataclass, shared by the network, its presets, the Lightning module and the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from formats.errors import InputError

Config = TypeVar("Config")


def config_from(config_class: type[Config], value: Config | Mapping[str, Any]) -> Config:
    """Return ``value`` as a ``config_class``.

    Checkpoints hold plain dictionaries, since they are read with ``weights_only=True``. A dataclass with a method
    ``check``, which raises ValueError, is checked.

    Args:
        config_class: Dataclass of settings.
        value: An instance of it, or a mapping of its fields.

    Raises:
        TypeError: The mapping has a key that is not a field.
        InputError: The settings do not fit together, or one is out of range.
    """
    config = config_class(**value) if isinstance(value, Mapping) else value
    try:
        if hasattr(config, "check"):
            config.check()
    except ValueError as error:
        raise InputError("--model.network", str(error), "Choose sizes that fit together.") from error
    return config
