"""Silence warnings about deliberate choices, and use W&B offline without an account.

Tested with lightning 2.6.6 and wandb 0.31. The messages are matched by their text, since neither library gives these
warnings a separate category; if one rewords a warning, it is merely shown again.
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
    ".*Total length of `.*DataLoader` across ranks is zero.*",  # all latents or samples exist already
    ".*Metric `InceptionScore` will save all extracted features.*",
)


def silence_warnings() -> None:
    """Silence Lightning's tips, and warnings about deliberate choices."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_not_a_tip)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message)


def _is_not_a_tip(record: logging.LogRecord) -> bool:
    return "💡 Tip" not in record.getMessage()


def log_wandb_offline_without_account() -> None:
    """Let W&B log to files if no user is signed in, so that a run never stops to ask."""
    signed_in = os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in _netrc()
    if not signed_in:
        os.environ.setdefault("WANDB_MODE", "offline")


def _netrc() -> str:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
