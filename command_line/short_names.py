"""Short names of options, such as ``--lr 1e-4`` for ``--model.learning_rate 1e-4``, and lists typed with blanks.

Both are rewritten before anything else reads the words, so that checks, the parser and messages know full options only.
They belong to fit, validate, test and predict; the options of a tool or pipeline are the parameters of its function.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from command_line.arguments import type_hints
from command_line.settings import CONFIG_OPTIONS, named_class, read_sources
from command_line.tasks import Task, UsageError, classes_by_name, load


@dataclass(frozen=True)
class Switch:
    """A word without a value that stands for an option with one.

    Attributes:
        option: The full option.
        on: Its value where the word is typed.
        off: Its value where ``false`` follows the word.
        value_name: Short name that sets another value than ``on``, if there is one.
    """

    option: str
    on: str
    off: str
    value_name: str | None = None


Names = Mapping[str, "str | Switch"]

OUTPUT: Names = {"output_dir": "output_dir", "output_path": "output_dir", "save_dir": "output_dir"}
MACHINE: Names = {**OUTPUT, "devices": "trainer.devices", "precision": "trainer.precision"}
BATCHES: Names = {**MACHINE, "data_dir": "data.data_dir", "batch_size": "data.batch_size"}
TRAINING: Names = {
    **BATCHES,
    "max_epochs": "trainer.max_epochs",
    "lr": "model.learning_rate",
    "learning_rate": "model.learning_rate",
}
# Of all modules, by command.
GENERAL: Mapping[str, Names] = {
    "fit": TRAINING,
    "validate": {**BATCHES, "checkpoint_path": "ckpt_path"},
    "test": {**BATCHES, "checkpoint_path": "ckpt_path"},
    "predict": {**MACHINE, "checkpoint_path": "ckpt_path"},
}
LATENTS: Names = {"latent_dir": "data.data_dir", "vavae_path": "model.tokenizer_path"}
SAMPLING: Names = {"guidance_scale": "model.guidance_scale", "num_steps": "model.num_steps"}
GENERATOR: Names = {**LATENTS, **SAMPLING, "dit_checkpoint": "ckpt_path"}
# Of one module, by command and class.
OF_MODULE: Mapping[tuple[str, str], Names] = {
    ("predict", "LatentExtractionModule"): {
        "data_dir": "data.data_dir",
        "batch_size": "data.batch_size",
        "vavae_path": "model.tokenizer_path",
    },
    ("fit", "UserConditionedDiTModule"): {**LATENTS, **SAMPLING},
    ("validate", "UserConditionedDiTModule"): GENERATOR,
    ("test", "UserConditionedDiTModule"): {**GENERATOR, "num_samples_per_user": "data.samples_per_user"},
    ("predict", "UserConditionedDiTModule"): {
        **SAMPLING,
        "batch_size": "data.batch_size",
        "dit_checkpoint": "ckpt_path",
        "vavae_path": "model.tokenizer_path",
        "user_ids": "data.user_ids",
        "num_samples_per_user": "data.samples_per_user",
    },
    ("fit", "LayerIndexModule"): {
        "checkpoint_path": "model.published_checkpoint",
        "lr": "model.decoder_learning_rate",
        "learning_rate": "model.decoder_learning_rate",
        "encoder_lr": "model.encoder_learning_rate",
        "use_amp": Switch("trainer.precision", "auto", "32-true"),
        "use_edge_loss": Switch("model.edge_weight", "0.1", "0.0", "edge_loss_weight"),
        "edge_loss_weight": "model.edge_weight",
    },
}
OPTION = re.compile(r"--|-[A-Za-z]")
PLAIN = re.compile(r"[\w.+\-/~@%]+")  # words that need no quotes in a list


def names_of(command: str, module: str) -> dict[str, str | Switch]:
    """Return the short names of a command with a module: name → full option, both without hyphens in front."""
    return {**GENERAL.get(command, {}), **OF_MODULE.get((command, module), {})}


def with_full_names(command: str, args: Sequence[str], tasks: Sequence[Task]) -> list[str]:
    """Replace short names with full options, and several words after an option with one list.

    Hyphens and underscores in short names are the same.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        args: Arguments after the command.
        tasks: All tasks.

    Raises:
        UsageError: A short name belongs to other commands or modules only.
    """
    sources = read_sources(args)
    classes = {key: str(named_class(sources, key) or "").rpartition(".")[2] for key in ("model", "data")}
    names = names_of(command, classes["model"])
    lists = _lists(classes, tasks)
    groups = _groups(args)
    typed = {_short(option) for option, _ in groups}
    words: list[str] = []
    for option, values in groups:
        target = names.get(_short(option))
        if target is None:
            _refuse_name_of_others(command, classes["model"], option)
            words += _joined(option, values, option.removeprefix("--") in lists)
        elif isinstance(target, str):
            words += _joined(f"--{target}", values, target in lists)
        elif values and values[0].lower() in ("false", "0", "no"):
            words.append(f"--{target.option}={target.off}")
        elif target.value_name not in typed:
            words.append(f"--{target.option}={target.on}")
    return words


def short_names_help(command: str) -> str:
    """Return the short names of a command, as its help shows them."""
    parts = [f"Short names: {_listed(GENERAL[command])}."]
    parts += [f"With {module}: {_listed(names)}." for (name, module), names in OF_MODULE.items() if name == command]
    return " ".join(parts)


def _listed(names: Names) -> str:
    options = {name: target.option if isinstance(target, Switch) else target for name, target in names.items()}
    return ", ".join(f"--{name} (--{option})" for name, option in options.items() if name != option)


def _short(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _groups(args: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Divide words into options with their values, which follow ``=`` or are the next words."""
    groups: list[tuple[str, list[str]]] = []
    for word in args:
        if not groups or OPTION.match(word):
            option, has_value, value = word.partition("=")
            groups.append((option, [value] if has_value else []))
        else:
            groups[-1][1].append(word)
    return groups


def _joined(option: str, values: Sequence[str], is_list: bool) -> list[str]:
    """Return an option and its values as words of which the parser makes one value.

    Example:
        >>> _joined("--data.user_ids", ["1"], True), _joined("--data.user_ids", ["[1, 2]"], True)
        (['--data.user_ids=[1]'], ['--data.user_ids=[1, 2]'])
        >>> _joined("--data.seed", ["1"], False), _joined("--data.images", ["a.png", "b c.png"], False)
        (['--data.seed=1'], ['--data.images=[a.png, "b c.png"]'])
    """
    if option in CONFIG_OPTIONS or not values:
        return [option, *values]
    is_value = len(values) == 1 and (not is_list or values[0] == "null" or values[0].startswith("["))
    return [f"{option}={values[0] if is_value else yaml_list(values)}"]


def yaml_list(values: Iterable[str]) -> str:
    """Return words as a list in YAML.

    Example:
        >>> yaml_list(["1", "b, c"])
        '[1, "b, c"]'
    """
    return f"[{', '.join(value if PLAIN.fullmatch(value) else json.dumps(value) for value in values)}]"


def _lists(classes: Mapping[str, str], tasks: Sequence[Task]) -> set[str]:
    """Return the options of a module and a datamodule that take lists only."""
    known = classes_by_name(tasks)
    owners = {key: load(known[name]) for key, name in classes.items() if name in known}
    return {
        f"{key}.{name}" for key, owner in owners.items() for name, hint in type_hints(owner).items() if _is_list(hint)
    }


def _is_list(hint: object) -> bool:
    parts = [part for part in (typing.get_args(hint) or (hint,)) if part is not type(None)]
    return typing.get_origin(hint) is list or all(typing.get_origin(part) is list for part in parts)


def _refuse_name_of_others(command: str, module: str, option: str) -> None:
    name = _short(option)
    others = [(each, "all modules") for each, names in GENERAL.items() if name in names]
    others += [key for key, names in OF_MODULE.items() if name in names]
    if not others:
        return
    place = next((other for other in others if other[0] == command), others[-1])
    full = names_of(*place)[name]
    target = full.option if isinstance(full, Switch) else full
    here = f"`{command}` with {module or 'no module'} has no such option"
    fault = f"means --{target} in `{place[0]}` with {place[1]}; {here}"
    taken = ", ".join(f"--{each}" for each in names_of(command, module))
    raise UsageError(option, fault, f"Short names here are {taken}; --help lists all options.")
