"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is most similar to a name, None if none is."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return near[0] if near else None


def suggestion(name: str, choices: Iterable[str], introduction: str) -> str:
    """Return a sentence with the most similar choice, or with all of them.

    Example:
        >>> suggestion("datset", ["auto", "dataset"], "Choose from")
        "Did you mean 'dataset'?"
        >>> suggestion("x", ["auto", "dataset"], "Choose from")
        'Choose from auto, dataset.'
    """
    choices = list(choices)
    near = nearest(name, choices)
    return f"Did you mean '{near}'?" if near else f"{introduction} {', '.join(choices)}."
