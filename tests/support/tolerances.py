"""Tolerances of ``torch.testing.assert_close`` that tests share."""

from __future__ import annotations

from typing import TypedDict


class Tolerance(TypedDict):
    """Keyword arguments of ``assert_close``."""

    rtol: float
    atol: float


CLOSE: Tolerance = {"rtol": 1e-4, "atol": 1e-5}
EXACT: Tolerance = {"rtol": 0.0, "atol": 0.0}
