"""Silenced warnings, and W&B without an account."""

import logging
import os
import warnings
from pathlib import Path

import pytest

from command_line.quiet import log_wandb_offline_without_account, silence_warnings


def test_wandb_is_offline_until_signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE")
    log_wandb_offline_without_account()
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x")
    log_wandb_offline_without_account()
    assert "WANDB_MODE" not in os.environ
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    log_wandb_offline_without_account()
    assert "WANDB_MODE" not in os.environ


def test_advice_is_silenced_and_other_warnings_are_not(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        silence_warnings()
        warnings.warn("The 'val_dataloader' does not have many workers", stacklevel=1)
        warnings.warn("the sky is falling", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["the sky is falling"]
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with caplog.at_level(logging.INFO):
        log.info("💡 Tip: buy something")
        log.info("GPU available: False, used: False")
        log.info("Seed set to 0")
        log.info("threads: 1")
    assert "buy" not in caplog.text
    assert "available" not in caplog.text
    assert "Seed" not in caplog.text
    assert "threads: 1" in caplog.text
