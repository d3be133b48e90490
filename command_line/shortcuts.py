"""Short commands for a first result: ``decompose``, ``depth`` and ``spectrogram`` stand for ``predict``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from command_line.tasks import UsageError


@dataclass(frozen=True)
class Shortcut:
    """A short command.

    Attributes:
        config: Shipped configuration.
        option: Option of ``predict`` that takes the words after the command.
        flag: Option that may stand before these words.
        usage: What the words are.
        about: Line of the help.
        weights: Weights of the repository to name where no checkpoint is named; the module's own by default.
    """

    config: str
    option: str
    flag: str
    usage: str
    about: str
    weights: str | None = None


SHORTCUTS = {
    "decompose": Shortcut(
        "layers_decompose.yaml", "--data.images", "--images", "IMAGE …", "layers of images or SVG files, to edit"
    ),
    "depth": Shortcut(
        "predict_pair.yaml", "--data.images", "--images", "IMAGE IMAGE", "depth and cameras of two images"
    ),
    "spectrogram": Shortcut(
        "generate_microdoppler.yaml",
        "--data.user_ids",
        "--user",
        "USER …",
        "radar spectrograms of simulated people: 1, 2, 4, 5 or 7",
        "spectrograms_simulated",
    ),
}


def expand_shortcut(args: Sequence[str]) -> list[str]:
    """Return the ``predict`` command that a short command stands for; other commands are returned as they are.

    Raises:
        UsageError: There are no words after the command.

    Example:
        >>> expand_shortcut(["decompose", "a.png", "b.png", "--data.num_layers", "5"])
        ['predict', '--config=layers_decompose.yaml', '--data.images=["a.png", "b.png"]', '--data.num_layers', '5']
        >>> expand_shortcut(["spectrogram", "--user", "3", "--ckpt_path", "a.ckpt"])
        ['predict', '--config=generate_microdoppler.yaml', '--data.user_ids=[3]', '--ckpt_path', 'a.ckpt']
    """
    if not args or args[0] not in SHORTCUTS:
        return list(args)
    name, *words = args
    shortcut = SHORTCUTS[name]
    start = ["predict", f"--config={shortcut.config}"]
    if words and words[0] in ("-h", "--help"):
        return [*start, *words]
    if words and words[0].partition("=")[0] == shortcut.flag:
        words[:1] = words[0].split("=", 1)[1:]
    end = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    given, options = words[:end], words[end:]
    if not given:
        remedy = f"Type `{name} {shortcut.usage}`; options of `predict` may follow."
        raise UsageError(f"cli.py {name}", "nothing is named", remedy)
    values = [int(word) if word.isdecimal() and name == "spectrogram" else word for word in given]
    start.append(f"{shortcut.option}={json.dumps(values, ensure_ascii=False)}")
    if shortcut.weights and not any(word.startswith("--ckpt_path") for word in options):
        start.append(f"--model.shipped_weights={shortcut.weights}")
    return [*start, *options]
