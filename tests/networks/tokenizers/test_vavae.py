"""The VA-VAE gives the published numbers on the published names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from formats.errors import InputError
from networks.checkpoints import load_published, to_published
from networks.tokenizers import VAVAE, Posterior, to_uint8, to_unit
from tests.support.filling import filled_state_dict

PARITY = Path(__file__).parents[2] / "parity"


def shapes_of(name: str) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((PARITY / f"{name}.keys.json").read_text())
    return shapes


@pytest.fixture(scope="module")
def small() -> VAVAE:
    network = VAVAE(32, (1, 1, 2, 2, 4), 8)
    load_published(network, filled_state_dict(shapes_of("vavae_small")))
    return network.eval()


@torch.no_grad()
def test_numbers_are_those_of_the_published_network(small: VAVAE) -> None:
    expected = load_file(PARITY / "vavae_small.safetensors")
    posterior = small.encode(expected["image"])
    torch.testing.assert_close(posterior.mean, expected["mean"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(posterior.logvar, expected["logvar"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(small.decode(expected["mean"]), expected["recon"], rtol=1e-4, atol=1e-5)


def test_every_tensor_of_the_released_file_is_accounted_for() -> None:
    """On the meta device, with the training's tensors next to the network's, as in the released file."""
    shapes = shapes_of("vavae_f16d32")
    training = ["loss.logvar", "loss.discriminator.main.0.weight", "loss.perceptual_loss.lin0.model.1.weight"]
    training += ["foundation_model.model.blocks.0.norm1.weight", "linear_proj.weight"]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    state |= {name: torch.empty(2, device="meta") for name in training}
    with torch.device("meta"):
        network = VAVAE()
    report = load_published(network, {"state_dict": state})
    assert set(report.loaded) == set(shapes)
    assert set(report.dropped) == set(training)
    assert "3 dropped: losses and discriminator of its training" in str(report)
    assert len(report.loaded) == len(network.state_dict()) == 342
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(69.8e6, rel=1e-3)
    written = to_published(network)
    assert {name: list(tensor.shape) for name, tensor in written.items()} == shapes


def test_the_published_naming_comes_back_bit_equal(small: VAVAE) -> None:
    filled = filled_state_dict(shapes_of("vavae_small"))
    written = to_published(small)
    assert written.keys() == filled.keys()
    assert all(torch.equal(written[name], filled[name]) for name in filled)


def test_log_variance_is_clamped(small: VAVAE) -> None:
    network = VAVAE(32, (1, 1, 2, 2, 4), 8)
    network.load_state_dict(small.state_dict())
    with torch.no_grad():
        network.autoencoder.quant_conv.bias[8:12] = 500.0
        network.autoencoder.quant_conv.bias[12:] = -500.0
        logvar = network.encode(torch.zeros(1, 3, 32, 32)).logvar
    assert torch.all(logvar[:, :4] == 20)
    assert torch.all(logvar[:, 4:] == -30)


def test_sides_that_do_not_divide_are_refused(small: VAVAE) -> None:
    assert small.latent_shape(64, 32) == (8, 4, 2)
    with pytest.raises(InputError, match=r"64×40 pixels.*multiples of 16"):
        small.encode(torch.zeros(1, 3, 64, 40))


def test_posterior_samples_have_its_mean_and_spread() -> None:
    posterior = Posterior(torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), 2.0))
    sample = posterior.sample(torch.Generator().manual_seed(0))
    assert torch.equal(sample, posterior.sample(torch.Generator().manual_seed(0)))
    assert sample.mean() == pytest.approx(3.0, abs=0.05)
    assert sample.var().log() == pytest.approx(2.0, abs=0.05)
    noise = torch.ones(1, 1, 200, 200)
    torch.testing.assert_close(posterior.sample(noise=noise), 3 + torch.e * noise)
    assert posterior.mode() is posterior.mean


def test_all_8_bit_values_come_back() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(values)
    assert (unit.min().item(), unit.max().item()) == (-1, 1)
    assert unit.dtype == torch.float32
    assert torch.equal(to_uint8(unit), values)
    assert torch.equal(to_uint8(torch.tensor([-1.5, 1.5, 0.0])), torch.tensor([0, 255, 128], dtype=torch.uint8))
    with pytest.raises(TypeError, match="uint8"):
        to_unit(unit)


def test_fingerprint_distinguishes_weights(small: VAVAE) -> None:
    twin = VAVAE(32, (1, 1, 2, 2, 4), 8)
    twin.load_state_dict(small.state_dict())
    assert twin.fingerprint() == small.fingerprint()
    assert len(twin.fingerprint()) == 64
    with torch.no_grad():
        twin.autoencoder.decoder.conv_out.bias[0] += 1e-6
    assert twin.fingerprint() != small.fingerprint()
    assert small.to(torch.bfloat16).fingerprint() != twin.fingerprint()
    small.float()
