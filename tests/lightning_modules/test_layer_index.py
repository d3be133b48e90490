"""The layer module without a trainer: sizes, transparency, learning rates."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from datamodules.illustration_folder import IllustrationFolderDataModule
from formats.images import on_white, write_png
from lightning_modules.layer_index import LayerIndexModule
from networks.depth_pro import PRESETS


@pytest.fixture(scope="module")
def module() -> LayerIndexModule:
    torch.manual_seed(0)
    return LayerIndexModule(PRESETS["tiny"], encoder_learning_rate=3e-5, decoder_learning_rate=3e-4).eval()


def test_images_of_the_networks_size_are_not_resized(module: LayerIndexModule) -> None:
    side = module.network.image_size
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        expected = module.network((images.float() / 255 - 0.5) / 0.5)[:, 0]
    assert_close(module.predict_index(images), expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 90), (700, 800)])
def test_the_index_has_the_size_of_the_image(module: LayerIndexModule, size: tuple[int, int]) -> None:
    index = module.predict_index(torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8))
    assert index.shape == (1, *size)
    assert index.min() >= 0
    assert index.max() <= 1


def test_the_network_sees_an_image_on_white(module: LayerIndexModule, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 4), dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    data = IllustrationFolderDataModule(str(tmp_path))
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert np.array_equal(batch["image"], pixels)
    expected = module.predict_index(torch.from_numpy(on_white(pixels)).permute(2, 0, 1)[None])[0]
    assert torch.equal(module.predict_step(batch, 0), expected)
    opaque = torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None]
    assert not torch.allclose(module.predict_index(opaque)[0], expected)


def test_encoder_and_decoder_have_separate_learning_rates(
    module: LayerIndexModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(module), "trainer", SimpleNamespace(estimated_stepping_batches=10))
    optimizer = module.configure_optimizers()["optimizer"]
    encoder, decoder = optimizer.param_groups
    assert [group["initial_lr"] for group in (encoder, decoder)] == [3e-5, 3e-4]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    vits = ("network.encoder.patch_encoder", "network.encoder.image_encoder")
    assert all(names[id(parameter)].startswith(vits) for parameter in encoder["params"])
    assert not any(names[id(parameter)].startswith(vits) for parameter in decoder["params"])
    assert len(encoder["params"]) + len(decoder["params"]) == len(names)
