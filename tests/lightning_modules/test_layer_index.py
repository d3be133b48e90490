"""The layer module without a trainer: sizes, transparency, rates."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from formats.images import on_white
from lightning_modules.layer_index import LayerIndexModule


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return LayerIndexModule(size="tiny", encoder_learning_rate=3e-5, decoder_learning_rate=3e-4).eval()


def test_index_at_the_networks_own_size_is_the_networks(module):
    side = module.network.image_size
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        expected = module.network((images.float() / 255 - 0.5) / 0.5)[:, 0]
    assert_close(module.predict_index(images), expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (500, 90), (700, 800)])
def test_any_size_comes_out_at_its_size(module, size):
    index = module.predict_index(torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8))
    assert index.shape == (1, *size)
    assert index.min() >= 0
    assert index.max() <= 1


def test_a_transparent_picture_is_seen_on_white(module):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 4), dtype=np.uint8)
    white = np.dstack([on_white(pixels), np.full((60, 80), 255, np.uint8)])
    seen: list[torch.Tensor] = []
    hook = module.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for image in (pixels, white, pixels | np.uint8([0, 0, 0, 255])):
        module.predict_step({"image": torch.from_numpy(image), "name": "a"}, 0)
    hook.remove()
    assert_close(seen[0], seen[1], rtol=0, atol=1.1 / 127.5)  # halves may be rounded either way
    assert (seen[0] - seen[2]).abs().max() > 0.1


def test_encoder_and_the_rest_have_rates_of_their_own(module, monkeypatch):
    monkeypatch.setattr(type(module), "trainer", SimpleNamespace(estimated_stepping_batches=10))
    optimizer = module.configure_optimizers()["optimizer"]
    encoder, decoder = optimizer.param_groups
    assert [group["initial_lr"] for group in (encoder, decoder)] == [3e-5, 3e-4]
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    vits = ("network.encoder.patch_encoder", "network.encoder.image_encoder")
    assert all(names[id(parameter)].startswith(vits) for parameter in encoder["params"])
    assert not any(names[id(parameter)].startswith(vits) for parameter in decoder["params"])
    assert len(encoder["params"]) + len(decoder["params"]) == len(names)
