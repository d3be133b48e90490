"""The user's settings: configuration files and options, read before the parser sees them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from configs import find_config, overlays_after_experiment
from formats.errors import InputError
from formats.local_files import parse_yaml, read_text

CONFIG_OPTIONS = ("-c", "--config")


@dataclass(frozen=True)
class Source:
    """One configuration file or option, and what it sets.

    Attributes:
        name: The file's path, or the option such as ``--model.depth``.
        settings: Nested mapping; ``--model.depth 3`` is ``{"model": {"depth": 3}}``.
        text: Text of the file or option.
    """

    name: str
    settings: Mapping[str, Any]
    text: str = ""


@dataclass(frozen=True)
class ClassSettings:
    """A class that settings name, and the arguments they give it.

    Attributes:
        option: Where the class is set, such as ``--model`` or ``--trainer.callbacks``.
        class_path: Short name or import path; None if only arguments are given.
        init_args: Arguments of the constructor.
    """

    option: str
    class_path: str | None
    init_args: Mapping[str, Any] = field(default_factory=dict)


def with_shipped_configs(args: Sequence[str]) -> list[str]:
    """Replace names of shipped configuration files with their paths, unless a local file has that name.

    Shipped overlays are applied after the experiment, also where they are named before it.

    Raises:
        InputError: A configuration file does not exist.
    """
    options: list[list[str]] = []  # each word, and --config with its file
    for position, word in enumerate(args):
        if position and args[position - 1] in CONFIG_OPTIONS:
            options[-1].append(_config_file(word))
        elif word.startswith("--config="):
            options.append([f"--config={_config_file(word.removeprefix('--config='))}"])
        else:
            options.append([word])
    ordered = overlays_after_experiment(options, _path_of)
    return list(itertools.chain.from_iterable(ordered))


def _path_of(option: Sequence[str]) -> Path | None:
    """Return the configuration file of an option."""
    if not option[0].startswith("--config=") and (option[0] not in CONFIG_OPTIONS or len(option) == 1):
        return None
    value = option[-1].removeprefix("--config=")
    return None if _is_inline(value) else Path(value)


def _config_file(value: str) -> str:
    if _is_inline(value):
        return value
    path = find_config(value)
    if not path.is_file():
        remedy = "Name a YAML file, your own or a shipped one such as configs/dit_microdoppler.yaml."
        raise InputError(value, "no such configuration file", remedy)
    return str(path)


def _is_inline(value: str) -> bool:
    """Return whether the value of ``--config`` is YAML itself rather than a path."""
    return "\n" in value or value.lstrip().startswith("{")


def read_sources(args: Sequence[str]) -> list[Source]:
    """Read the configuration files and options of a command line, in order.

    Args:
        args: Arguments after the command.

    Raises:
        InputError: A configuration file cannot be read.
    """
    return list(_sources(args))


def _sources(args: Sequence[str]) -> Iterator[Source]:
    words = list(args)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            continue
        option, has_value, value = word.partition("=")
        if not has_value:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        if option in CONFIG_OPTIONS:
            yield _read_config(value)
        else:
            keys = option.lstrip("-").removesuffix("+").split(".")
            settings: Any = _parse(value)
            for key in reversed(keys):
                settings = {key: settings}
            yield Source(option.removesuffix("+"), settings, word if has_value else f"{word} {value}")


def _read_config(value: str) -> Source:
    name = "--config" if _is_inline(value) else value
    text = value if _is_inline(value) else read_text(value, "Correct the file.")
    settings = parse_yaml(text, name, "Correct the file.") or {}
    if not isinstance(settings, Mapping):
        raise InputError(name, "does not hold settings", "Write `name: value` lines.")
    return Source(name, settings, text)


def _parse(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def last_value(sources: Sequence[Source], key: str) -> Any:
    """Return the last value of a top-level setting such as ``ckpt_path``, or None."""
    values = [source.settings[key] for source in sources if key in source.settings]
    return values[-1] if values else None


def class_settings(source: Source, key: str) -> ClassSettings | None:
    """Return a source's settings of ``model`` or ``data``, or None if it has none.

    The forms ``--model X``, ``--model.class_path X``, ``--model.depth 3`` and ``--model.init_args.depth 3`` are
    supported, like their counterparts in YAML.
    """
    value = source.settings.get(key)
    return None if value is None else _as_class(f"--{key}", value)


def _as_class(option: str, value: Any) -> ClassSettings | None:
    if isinstance(value, str):
        return ClassSettings(option, value)
    if not isinstance(value, Mapping):
        return None
    init_args = {name: part for name, part in value.items() if name not in ("class_path", "init_args", "dict_kwargs")}
    init_args.update(value.get("init_args") or {})
    return ClassSettings(option, value.get("class_path"), init_args)


def listed_classes(source: Source, key: str) -> list[ClassSettings]:
    """Return the classes that a source lists under ``trainer.<key>``, such as its callbacks.

    ``--trainer.callbacks.decay 0.9`` sets an argument of the class listed last without naming it.
    """
    trainer = source.settings.get("trainer")
    value = trainer.get(key) if isinstance(trainer, Mapping) else None
    parts = value if isinstance(value, list) else [value]
    found = [_as_class(f"--trainer.{key}", part) for part in parts]
    return [part for part in found if part is not None]


def named_class(sources: Sequence[Source], key: str) -> str | None:
    """Return the final class path of ``model`` or ``data``, or None if none is named."""
    found = [part.class_path for source in sources if (part := class_settings(source, key)) and part.class_path]
    return found[-1] if found else None
