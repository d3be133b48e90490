"""What is said of layers that cannot be relied on."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from lightning import LightningModule

from batches.layers import IllustrationBatch
from callbacks.layer_writer import layers_report
from networks.shipped_weights import ShippedWeights


def batch_of(rgb: torch.Tensor) -> IllustrationBatch:
    alpha = torch.full((*rgb.shape[1:], 1), 255, dtype=torch.uint8)
    return {"image": torch.cat([rgb.permute(1, 2, 0), alpha], -1), "rgb": rgb, "name": "image"}


def module() -> LightningModule:
    module: Any = LightningModule()
    module.shipped = ShippedWeights("net", {}, {"data": "drawings", "limits": "Photographs give meaningless regions."})
    return cast(LightningModule, module)


def test_a_photograph_is_noted() -> None:
    rng = np.random.default_rng(0)
    noisy = torch.from_numpy(rng.integers(0, 256, (3, 40, 60), dtype=np.uint8))
    report = layers_report(module(), batch_of(noisy))
    assert report["is_unlike_drawings"]
    assert report["note"].startswith("only 0% of adjacent pixels have the same colour, as in a photograph")
    assert report["note"].endswith("do not rely on the layers. Photographs give meaningless regions.")


def test_a_drawing_has_the_limits_of_the_weights() -> None:
    flat = torch.zeros(3, 40, 60, dtype=torch.uint8)
    flat[:, 10:30, 20:40] = 200
    report = layers_report(module(), batch_of(flat))
    assert not report["is_unlike_drawings"]
    assert report["equal_neighbours"] > 0.9
    assert report["note"] == "weights 'net': Photographs give meaningless regions."


def test_layers_of_a_file_are_exact() -> None:
    exact = batch_of(torch.zeros(3, 4, 4, dtype=torch.uint8))
    exact["orders"] = torch.zeros(4, 4, dtype=torch.int32)
    assert layers_report(module(), exact) == {"weights": "none: the layers are those of the file"}
