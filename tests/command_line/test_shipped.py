"""Weights of the repository in the place of a checkpoint that the user does not name."""

from __future__ import annotations

import pytest
import yaml

from cli import TASKS
from command_line.settings import read_sources
from command_line.shipped import with_shipped_weights
from networks.shipped_weights import read_card
from tests.support.commands import ROOT

PREDICT = [f"--config={ROOT / 'configs' / 'predict_pair.yaml'}"]


def added(*more: str) -> list[str]:
    """Words that are added to a prediction of the pair task."""
    words = [*PREDICT, *more]
    result = with_shipped_weights(words, read_sources(words), TASKS)
    assert [word for word in result if word in words] == words
    return [word for word in result if word not in words and word != "--config"]


def test_a_prediction_without_weights_takes_those_of_the_repository() -> None:
    (text,) = added()
    settings, card = yaml.safe_load(text), read_card("depth_simulated")
    assert settings["model"]["init_args"] == {"network": card["network"], "shipped_weights": "depth_simulated"}
    assert settings["data"]["init_args"] == {"image_size": 112}


def test_they_come_after_the_files_and_before_the_options() -> None:
    words = [*PREDICT, "--data.image_size=56"]
    result = with_shipped_weights(words, read_sources(words), TASKS)
    assert result[0] == PREDICT[0]
    assert result[1] == "--config"
    assert result[3:] == ["--data.image_size=56"]


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
