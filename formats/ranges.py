"""Ranges of settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from formats.errors import check_settings


@dataclass(frozen=True)
class Range:
    """Numbers that a setting, or each of several, may have; NaN and infinity are never among them.

    Attributes:
        low: Lower bound.
        high: Upper bound.
        above: Whether the lower bound itself is excluded.
        below: Whether the upper bound itself is excluded.
        or_none: Whether the setting may be null.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    or_none: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a number, or each of a list or tuple, is in the range."""
        if isinstance(value, list | tuple):
            return all(map(self.holds, value))
        if value is None:
            return self.or_none
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return bool(over and under and math.isfinite(value))

    def __str__(self) -> str:
        bounds = []
        if self.low > -math.inf:
            bounds.append(f"{'above' if self.above else 'at least'} {self.low:g}")
        if self.high < math.inf:
            bounds.append(f"{'below' if self.below else 'at most'} {self.high:g}")
        return ("null or " if self.or_none else "") + (" and ".join(bounds) or "finite")


AT_LEAST_0, AT_LEAST_1, ABOVE_0, FINITE = Range(0), Range(1), Range(0, above=True), Range()
SHARE = Range(0, 1)  # 0…1
DECAY = Range(0, 1, below=True)  # of a running average


def or_none(allowed: Range) -> Range:
    """Return the same range for a setting that may be null."""
    return replace(allowed, or_none=True)


def check_ranges(option: str, values: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """Check that settings are in their ranges.

    Args:
        option: Option that the settings belong to, such as ``--model``.
        values: Settings by name.
        ranges: Range of each setting to check.

    Raises:
        InputError: A setting is out of its range.

    Example:
        >>> check_ranges("--model", {"learning_rate": -1.0}, {"learning_rate": AT_LEAST_0})
        Traceback (most recent call last):
        formats.errors.InputError: --model.learning_rate: must be at least 0, not -1.0. Choose another value.
    """
    check_settings(
        {
            f"{option}.{name}": (f"{allowed}, not {values[name]}", allowed.holds(values[name]))
            for name, allowed in ranges.items()
        }
    )
