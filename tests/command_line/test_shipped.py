"""Weights of the repository where the user names none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import networks.shipped_weights
from cli import TASKS
from command_line.settings import read_sources
from command_line.shipped import with_shipped_weights
from networks.shipped_weights import REQUIRED, save_shipped
from tests.support.commands import ROOT

PREDICT = [f"--config={ROOT / 'configs' / 'predict_pair.yaml'}"]
NETWORK = {"depth": 2}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of the pair task, as if they were part of the repository."""
    settings = {"data": {"init_args": {"image_size": 56}}}
    card = {**dict.fromkeys(REQUIRED, "stated"), "network": NETWORK, "settings": settings}
    save_shipped("depth_simulated", {"weight": torch.zeros(1)}, card, tmp_path)
    monkeypatch.setattr(networks.shipped_weights, "FOLDER", tmp_path)


def added(*more: str) -> list[str]:
    """Return the words that are added to a prediction of the pair task."""
    words = [*PREDICT, *more]
    result = with_shipped_weights(words, read_sources(words), TASKS)
    assert [word for word in result if word in words] == words
    return [word for word in result if word not in words and word != "--config"]


@pytest.mark.usefixtures("weights")
def test_a_prediction_without_weights_takes_those_of_the_repository() -> None:
    (text,) = added()
    settings = yaml.safe_load(text)
    assert settings["model"]["init_args"] == {"network": NETWORK, "shipped_weights": "depth_simulated"}
    assert settings["data"]["init_args"] == {"image_size": 56}


def test_nothing_is_added_where_the_repository_has_no_weights_for_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks.shipped_weights, "FOLDER", tmp_path)
    assert added() == []


@pytest.mark.usefixtures("weights")
def test_they_come_after_the_files_and_before_the_options() -> None:
    words = [*PREDICT, "--data.image_size=56"]
    result = with_shipped_weights(words, read_sources(words), TASKS)
    assert result[0] == PREDICT[0]
    assert result[1] == "--config"
    assert result[3:] == ["--data.image_size=56"]


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    "word",
    [
        "--ckpt_path=last.ckpt",
        "--model.published_checkpoint=vggt_1b.pt",
        "--model=LayerIndexModule",
        "--model=user.Module",
        "--model.shipped_weights=null",
        "--model.shipped_weights=unknown",
    ],
)
def test_nothing_is_added_where_the_user_says_otherwise(word: str) -> None:
    assert added(word) == []
