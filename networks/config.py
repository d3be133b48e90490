"""Settings of a network as a dataclass, shared by the network, its presets, the Lightning module and the YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from formats.errors import InputError

Config = TypeVar("Config")

OPTION = "--model.network"
MAX_DEPTH = 1000
MAX_SIZE = 2**20
MAX_WEIGHTS = 10**10  # eight times the largest published network here; 40 GB in float32
FROM_ZERO = ("dpt_layers", "hook_blocks")  # blocks, counted from 0
DEPTHS = ("depth", "camera_depth")
# Settings that are not the width of a layer.
OTHERS = (
    *FROM_ZERO,
    *DEPTHS,
    "num_heads",
    "camera_num_heads",
    "num_classes",
    "input_size",
    "input_width",
    "patch_size",
    "window",
)


def config_from(config_class: type[Config], value: Config | Mapping[str, Any]) -> Config:
    """Return ``value`` as a ``config_class``, after checking its sizes.

    Checkpoints hold plain dictionaries, since they are read with ``weights_only=True``. A size out of a checkpoint is
    checked here, before memory is taken for it.

    Args:
        config_class: Dataclass of settings.
        value: An instance of it, or a mapping of its fields.

    Raises:
        InputError: A key is not a field, a value has another type, a size is out of range, or sizes do not fit
            together.
    """
    try:
        config = config_class(**value) if isinstance(value, Mapping) else value
        _check_types(config)
        check = getattr(config, "check", None)
        if check is not None:
            check()
    except (TypeError, ValueError) as fault:
        if isinstance(fault, InputError):
            raise
        raise InputError(OPTION, str(fault), "Choose sizes that fit together.") from fault
    _check_sizes(config)
    return config


def _check_types(config: Any) -> None:
    """Check every field; sizes are whole numbers of at least 1, others finite."""
    for name, hint in get_type_hints(type(config)).items():
        value, option = getattr(config, name), f"{OPTION}.{name}"
        kinds = get_args(hint) if type(None) in get_args(hint) else (hint,)
        if value is None and type(None) in kinds:
            continue
        if isinstance(value, bool) != (bool in kinds) or isinstance(value, str) != (str in kinds):
            raise InputError(option, f"{value!r} is not a valid value", "Choose another value.")
        if isinstance(value, list | tuple) != (get_origin(hint) is tuple):
            raise InputError(option, f"{value!r} is not a valid value", "Choose another value.")
        for number in value if isinstance(value, list | tuple) else [] if isinstance(value, str) else [value]:
            is_whole = isinstance(number, int) and not (isinstance(number, bool) and bool not in kinds)
            if not is_whole and (float not in kinds or not isinstance(number, float) or not math.isfinite(number)):
                raise InputError(option, f"{value!r} is not a valid value", "Choose another value.")
            least, most = 0 if name in FROM_ZERO else 1, MAX_DEPTH if name in DEPTHS else MAX_SIZE
            if float not in kinds and bool not in kinds and not least <= number <= most:
                raise InputError(option, f"must be from {least} to {most}, not {number}", "Choose another value.")


def _check_sizes(config: Any) -> None:
    """Estimate the number of weights, from above for every published network."""
    sizes = {name: value for name, value in vars(config).items() if not isinstance(value, bool | str | float | None)}
    parts = {name: tuple(value) if isinstance(value, list | tuple) else (value,) for name, value in sizes.items()}
    widest = max((part for name, values in parts.items() if name not in OTHERS for part in values), default=1)
    depth = max((part for name in DEPTHS for part in parts.get(name, (1,))), default=1)
    height = sizes.get("input_size", 1)
    grid = height * sizes.get("input_width", height) // sizes.get("patch_size", 1) ** 2
    tokens = grid + (sizes.get("window", 16) // 16) ** 2
    blocks = 12 * depth * max(1.0, getattr(config, "mlp_ratio", 4.0) / 4)
    weights = blocks * widest**2 + (tokens + sizes.get("num_classes", 1)) * widest
    if weights > MAX_WEIGHTS:
        fault = f"asks for about {weights:.1e} weights, more than the {MAX_WEIGHTS:.0e} that are built"
        raise InputError(OPTION, fault, "Choose a smaller width or depth.")
