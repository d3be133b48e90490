"""Silences for choices that are made on purpose, and W&B without an account.

Tried with lightning 2.6.6 and wandb 0.31. The messages are matched by their words, since neither library gives these
warnings a category of their own; where one changes its words, the warning is merely shown again.
"""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

MESSAGES = (
    ".*isinstance.treespec, LeafSpec.*",
    ".*Couldn't infer the batch indices.*",
    ".*callbacks used to create the checkpoint need to be provided.*",
    ".*The dirpath has changed from.*",
    ".*WeightAveraging callback with a model that overrides.*",
    ".*WeightAveraging callback, but loading a checkpoint outside.*",
    ".*does not have many workers.*",
    ".*Your `IterableDataset` has `__len__` defined.*",
)


def silence_warnings() -> None:
    """Silence Lightning's tips, and warnings about choices that are made on purpose."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_not_a_tip)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message)


def _is_not_a_tip(record: logging.LogRecord) -> bool:
    return "💡 Tip" not in record.getMessage()


def log_wandb_offline_without_account() -> None:
    """Let W&B log to files where nobody is signed in, so that a run never stops to ask."""
    signed_in = os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in _netrc()
    if not signed_in:
        os.environ.setdefault("WANDB_MODE", "offline")


def _netrc() -> str:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
