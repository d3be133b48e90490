"""Images of depth and cameras during training: which scene they show, and what is in each column."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from batches.pair import PairBatch
from callbacks import pair_images
from callbacks.pair_images import CAPTIONS, predict_first_scene, scene_images
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from tests.support.batches import pair_batch

Panels = dict[str, list[NDArray[np.uint8]]]


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> Panels:
    """The panels of the contact sheet that was drawn last, by row."""
    drawn: Panels = {}

    def record(rows: Panels, captions: tuple[str, ...]) -> NDArray[np.uint8]:
        assert captions == CAPTIONS
        drawn.update(rows)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(pair_images, "contact_sheet", record)
    return drawn


def module_predicting(depths: torch.Tensor, batch: PairBatch) -> PairDepthCameraModule:
    prediction = {
        "depth": depths[:1],
        "confidence": torch.ones_like(depths[:1]),
        "extrinsics": batch["extrinsics"][:1],
        "intrinsics": batch["intrinsics"][:1],
    }
    return cast(PairDepthCameraModule, SimpleNamespace(predict_scene=lambda images: prediction))


def columns(panels: Panels) -> dict[str, NDArray[np.uint8]]:
    return dict(zip(CAPTIONS, panels["view 1"], strict=True))


def test_the_first_scene_is_drawn(panels: Panels) -> None:
    batch = pair_batch()
    scene_images(predict_first_scene(module_predicting(batch["depths"], batch), batch))
    image = (batch["images"][0, 0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(columns(panels)["input"], image)


def test_prediction_and_truth_are_next_to_each_other(panels: Panels) -> None:
    batch = pair_batch()
    scene_images(predict_first_scene(module_predicting(batch["depths"], batch), batch))
    exact = columns(panels)
    mask = batch["point_masks"][0, 0].numpy()
    np.testing.assert_array_equal(exact["predicted depth"][mask], exact["true depth"][mask])
    scene_images(predict_first_scene(module_predicting(1.5 * batch["depths"], batch), batch))
    wrong = columns(panels)
    np.testing.assert_array_equal(wrong["true depth"], exact["true depth"])
    assert (wrong["predicted depth"] != exact["predicted depth"]).any()
    assert (wrong["error, 0 to 20 %"] != exact["error, 0 to 20 %"]).any()


def test_cameras_are_drawn_from_prediction_and_truth(panels: Panels) -> None:
    batch = pair_batch()
    module = module_predicting(batch["depths"], batch)
    _, cameras = scene_images(predict_first_scene(module, batch))
    moved = cast(Any, {**batch, "extrinsics": batch["extrinsics"].clone()})
    moved["extrinsics"][0, 1, 0, 3] += 1
    _, others = scene_images(predict_first_scene(module_predicting(batch["depths"], moved), batch))
    assert (cameras != others).any()
