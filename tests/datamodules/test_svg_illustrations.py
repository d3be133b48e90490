"""SVG files to decompose: their layers are exact and need no network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks.layer_writer import LayerWriter
from datamodules.illustration_folder import IllustrationFolderDataModule
from decomposition.compositing import compose
from decomposition.separation import exact_separation
from formats.errors import InputError
from lightning_modules.region_order import RegionOrderModule

DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><rect width="60" height="40" fill="#fff0a0"/>
<circle cx="25" cy="20" r="15" fill="red" stroke="black"/><rect x="30" y="10" width="20" height="20" fill="blue"
opacity=".5"/><rect x="70" width="5" height="5"/></svg>"""


@pytest.fixture
def data(tmp_path: Path) -> IllustrationFolderDataModule:
    (tmp_path / "a.svg").write_text(DRAWING)
    data = IllustrationFolderDataModule(str(tmp_path), svg_size=120)
    data.setup("predict")
    return data


def test_layers_are_complete_and_compose_to_the_drawing(data: IllustrationFolderDataModule) -> None:
    (batch,) = data.predict_dataloader()
    layers, orders = batch["layers"].numpy(), batch["orders"].numpy()
    assert layers.shape == (3, 80, 120, 4)  # the last rectangle is off the canvas
    assert orders.max() == 3
    assert layers[1, 40, 78].tolist() == [255, 0, 0, 255]  # beneath the blue rectangle
    assert layers[2, 40, 90].tolist()[3] == 128
    composed = compose(exact_separation(layers, orders).layers)
    np.testing.assert_array_equal(composed, batch["image"].numpy())
    assert composed[40, 90].tolist() == [127, 120, 208, 255]


def test_no_network_is_needed(data: IllustrationFolderDataModule) -> None:
    (batch,) = data.predict_dataloader()
    index = RegionOrderModule(weights="missing").predict_step(batch, 0)
    assert index.unique().tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert index.shape == (80, 120)


def test_the_exact_layers_are_written(data: IllustrationFolderDataModule, tmp_path: Path) -> None:
    (batch,) = data.predict_dataloader()
    exact = exact_separation(batch["layers"].numpy(), batch["orders"].numpy())
    index = torch.zeros(80, 120).numpy()
    LayerWriter().write(tmp_path / "out", batch["image"].numpy(), index, None, exact)
    assert len(list((tmp_path / "out" / "layers").glob("*.png"))) == 3


def test_a_drawing_that_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>")
    data = IllustrationFolderDataModule(str(tmp_path / "b.svg"))
    data.setup("predict")
    with pytest.raises(InputError, match="b.svg"):
        next(iter(data.predict_dataloader()))
