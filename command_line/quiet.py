"""Silence warnings about deliberate choices, and use W&B offline without an account.

Tested with lightning 2.6.6 and wandb 0.31. The messages are matched by their text, since neither library gives these
warnings a separate category; if one rewords a warning, it is merely shown again.
"""

from __future__ import annotations

import logging
import os
import re
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
# Lines that StartSummary replaces.
LINES = re.compile(
    r"💡 Tip|Seed set to|\w+ available: |LOCAL_RANK: |Using .*Automatic Mixed Precision|Loading `train_dataloader`"
)
LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
)


def silence_warnings() -> None:
    """Silence Lightning's tips and lines about the machine, and warnings about deliberate choices."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_shown)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message)


def _is_shown(record: logging.LogRecord) -> bool:
    return LINES.match(record.getMessage()) is None


def log_wandb_offline_without_account() -> None:
    """Let W&B log to files if no user is signed in, so that a run never stops to ask; and without lines of its own."""
    os.environ.setdefault("WANDB_SILENT", "true")
    signed_in = os.environ.get("WANDB_API_KEY") or "api.wandb.ai" in _netrc()
    if not signed_in:
        os.environ.setdefault("WANDB_MODE", "offline")


def _netrc() -> str:
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
