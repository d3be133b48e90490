"""Weights of the repository for ``predict`` where the user names none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from command_line.checkpoints import end_of_configs
from command_line.settings import Source, class_settings, last_value, named_class
from command_line.tasks import Task, classes_by_name, load
from networks.shipped_weights import available, read_card


def with_shipped_weights(args: Sequence[str], sources: Sequence[Source], tasks: Sequence[Task]) -> list[str]:
    """Add the settings of the module's weights in the repository after the configuration files.

    Nothing is added where a checkpoint or a published file is named, or the module has no such weights. The card's
    ``network`` goes to the module; its ``settings`` hold other options that the weights need, such as the image size.

    Args:
        args: Words after the command.
        sources: What they say.
        tasks: All tasks.

    Raises:
        InputError: The card of the weights cannot be read.
    """
    model = [part.init_args for source in sources if (part := class_settings(source, "model"))]
    if last_value(sources, "ckpt_path") or any(part.get("published_checkpoint") for part in model):
        return list(args)
    target = classes_by_name(tasks).get(str(named_class(sources, "model")).rpartition(".")[2])
    name = getattr(load(target), "SHIPPED_WEIGHTS", None) if target else None
    named = [part["shipped_weights"] for part in model if "shipped_weights" in part]
    name = named[-1] if named else name
    if name not in available():
        return list(args)
    card = read_card(name)
    settings: dict[str, Any] = dict(card.get("settings", {}))
    settings["model"] = {"init_args": {"network": card["network"], "shipped_weights": name}}
    words = list(args)
    end = end_of_configs(words)
    words[end:end] = ["--config", yaml.safe_dump(settings)]
    return words
