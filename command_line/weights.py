"""``weights``: list published weights that the tasks start from, and the trained weights of the repository."""

from __future__ import annotations

from collections.abc import Sequence

from command_line.tasks import UsageError
from formats.errors import InputError
from formats.hub_files import cached_file, parse_hub_name
from formats.local_files import read_yaml
from weights import FOLDER
from weights.published import PUBLISHED_FILES

USAGE = "usage: python cli.py weights      list published weights by name, and the trained weights of the repository"
# Command that uses the weights of the repository, by their name.
SHIPPED_COMMANDS = {
    "depth_simulated": "depth a.jpg b.jpg",
    "region_order": "decompose my.png",
    "spectrograms_simulated": "spectrogram --user 4",
}


def run_weights(words: Sequence[str]) -> None:
    """Print the list.

    Args:
        words: Words after ``weights``.

    Raises:
        UsageError: There are any, other than ``list`` and ``--help``.
    """
    if words and words[0] in ("-h", "--help"):
        print(USAGE)
    elif not words or list(words) == ["list"]:
        print(listing())
    else:
        raise UsageError("cli.py weights", f"cannot do '{' '.join(words)}'", "Type `weights` alone.")


def listing() -> str:
    """Return size, licence and command of every file."""
    lines = ["Published weights, downloaded to the cache of the Hugging Face hub when they are first used:"]
    task = ""
    for file in PUBLISHED_FILES:
        if file.task != task:
            task = file.task
            lines += ["", f"{task}"]
        page = parse_hub_name(file.name).page
        lines += [
            f"  {file.name}",
            f"    {file.about}; {file.size}; {_in_cache(file.name)}",
            f"    licence: on {page}, shown before the first download",
            f"    python cli.py {file.command} {file.name}",
        ]
    lines += ["", "Trained weights of the repository, used where no checkpoint is named:"]
    return "\n".join(lines + [line for name in _shipped_names() for line in _shipped_lines(name)])


def _in_cache(name: str) -> str:
    try:
        return "in the cache" if cached_file(parse_hub_name(name)) else "not in the cache"
    except InputError as error:  # the hub's package is not installed
        return f"{error.where} {error.fault}"


def _shipped_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def _shipped_lines(name: str) -> list[str]:
    # Not by networks.shipped_weights, which imports PyTorch.
    card = read_yaml(FOLDER / f"{name}.yaml", "Restore the card from the repository.")
    size = (FOLDER / f"{name}.safetensors").stat().st_size / 1e6
    lines = ["", f"  {name}", f"    {card['summary']}; {size:.1f} MB", f"    licence: {card['licence']}"]
    lines.append(f"    limits: {card['limits']}")
    return [*lines, f"    python cli.py {SHIPPED_COMMANDS[name]}"] if name in SHIPPED_COMMANDS else lines
