"""LightningDiT gives the published network's numbers, and its parts behave as described."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.testing import assert_close as torch_close

from losses.flow_matching import direction_loss, velocity_loss
from networks.checkpoints import load_published, to_published
from networks.lightning_dit import PRESETS, LightningDiT, LightningDiTConfig
from networks.transport import GuidedVelocity, linear_path, sample
from tests.support.filling import filled_state_dict

PARITY = Path(__file__).parents[1] / "parity"
SMALL = LightningDiTConfig(
    input_size=4, patch_size=1, in_channels=4, hidden_size=32, depth=1, num_heads=2, num_classes=3
)
assert_close = partial(torch_close, rtol=1e-4, atol=1e-5)
Published = tuple[LightningDiT, dict[str, Tensor]]


@pytest.fixture(scope="module", params=["a", "b"])
def published(request: pytest.FixtureRequest) -> Published:
    """A small network with the published weights, and the published numbers."""
    with safe_open(PARITY / f"lightningdit_{request.param}.safetensors", framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network = LightningDiT(LightningDiTConfig(**config)).eval()
    computed = [name for name in network.state_dict() if name.startswith(("pos_embed", "feat_rope"))]
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in computed}
    load_published(network, filled_state_dict(shapes) | {name: network.state_dict()[name] for name in computed})
    return network, numbers


def guided(network: LightningDiT, numbers: dict[str, Tensor]) -> GuidedVelocity:
    labels = numbers["y_cfg"][:2]
    return GuidedVelocity(network, labels, network.no_label, scale=6.7, interval_start=0.125, guided_channels=3)


@torch.no_grad()
def test_velocity(published: Published) -> None:
    network, numbers = published
    assert_close(network(numbers["x"], numbers["t"], numbers["y"]), numbers["velocity"])


def test_position_tables(published: Published) -> None:
    network, numbers = published
    assert_close(network.pos_embed, numbers["pos_embed"])
    if "rope_cos" in numbers:
        assert network.feat_rope is not None
        assert_close(network.feat_rope.freqs_cos, numbers["rope_cos"])
        assert_close(network.feat_rope.freqs_sin, numbers["rope_sin"])
    else:
        assert network.feat_rope is None


@torch.no_grad()
@pytest.mark.parametrize("t", [0.5, 0.05])
def test_guided_velocity(published: Published, t: float) -> None:
    """The published sampler carries a doubled batch whose first half is the result."""
    network, numbers = published
    expected = numbers[f"velocity_cfg_t{t}".replace(".", "p")][:2]
    assert_close(guided(network, numbers)(t, numbers["x_cfg"][:2]), expected)


@torch.no_grad()
def test_euler_end_point(published: Published) -> None:
    network, numbers = published
    end = sample(guided(network, numbers), numbers["x_cfg"][:2], "euler", num_steps=9, shift=0.3)
    assert_close(end, numbers["euler10_shift0p3_final"][:2], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_dopri5_end_point(published: Published) -> None:
    network, numbers = published
    field = GuidedVelocity(network, torch.tensor([0, 1]), network.no_label)
    assert_close(sample(field, numbers["x"][:2], "dopri5"), numbers["dopri5_final"], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_losses(published: Published) -> None:
    network, numbers = published
    point, target = linear_path(numbers["x"], numbers["noise"], numbers["t"])
    velocity = network(point, numbers["t"], torch.tensor([0, 1, 1]))
    assert_close(velocity_loss(velocity, target), numbers["loss_mse"])
    assert_close(direction_loss(velocity, target), numbers["loss_cos"])


def test_released_xl1_is_accounted_for() -> None:
    shapes = json.loads((PARITY / "lightningdit_xl1.keys.json").read_text())
    with torch.device("meta"):
        network = LightningDiT(PRESETS["LightningDiT-XL/1"])
        released = {name: torch.empty(shape) for name, shape in shapes.items()}
    report = load_published(network, released)
    tables = {"pos_embed", "feat_rope.freqs_cos", "feat_rope.freqs_sin"}
    assert set(report.not_compared) == tables  # they have no values on the meta device
    assert set(report.loaded) == shapes.keys() - tables
    assert {name: list(tensor.shape) for name, tensor in to_published(network).items()} == shapes


def test_preset_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in LightningDiT(config).parameters()) for name, config in PRESETS.items()}
    tables = {name: config.hidden_size * 256 for name, config in PRESETS.items()}
    # the published count includes the fixed position table, which is a buffer here
    assert counts["LightningDiT-XL/1"] + tables["LightningDiT-XL/1"] == pytest.approx(675.26e6, rel=1e-4)
    assert counts["LightningDiT-B/1"] == pytest.approx(130e6, rel=0.01)
    assert LightningDiTConfig(num_classes=1000) == PRESETS["LightningDiT-XL/1"]  # the documented default


def test_labels_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    network = LightningDiT(replace(SMALL, class_dropout_prob=0.5))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, t, y = torch.randn(1, 4, 4, 4).expand(64, -1, -1, -1), torch.full((64,), 0.5), torch.ones(64).long()
    without = network.eval()(x, t, torch.full_like(y, network.no_label))
    labelled = network(x, t, y)
    trained = network.train()(x, t, y)
    dropped = torch.isclose(trained, without, atol=1e-5).flatten(1).all(dim=1)
    kept = torch.isclose(trained, labelled, atol=1e-5).flatten(1).all(dim=1)
    assert (dropped ^ kept).all()
    assert 16 < int(dropped.sum()) < 48


def test_starts_at_zero_velocity_and_trains_with_checkpointing() -> None:
    network = LightningDiT(replace(SMALL, patch_size=2, depth=2), gradient_checkpointing=True)
    x, t, y = torch.randn(2, 4, 4, 4), torch.rand(2), torch.tensor([0, 2])
    velocity = network(x, t, y)
    assert velocity.abs().max() == 0
    (velocity - x).square().mean().backward()
    gradient = network.final_layer.linear.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_learn_sigma_keeps_the_first_half() -> None:
    network = LightningDiT(replace(SMALL, in_channels=6, learn_sigma=True))
    assert network(torch.randn(2, 6, 4, 4), torch.rand(2), torch.tensor([0, 2])).shape == (2, 6, 4, 4)
    assert network.final_layer.linear.out_features == 12


def test_a_grid_need_not_be_square() -> None:
    square, wide = (LightningDiT(replace(SMALL, patch_size=2, input_size=8, input_width=width)) for width in (8, 16))
    x = torch.randn(2, 4, 8, 16)
    with torch.no_grad():
        for parameter in wide.final_layer.parameters():
            parameter.fill_(0.1)
        assert wide(x, torch.rand(2), torch.tensor([0, 2])).shape == x.shape
    patches = torch.arange(2 * 32 * 16.0).view(2, 32, 16)  # (B, 4 · 8 patches, 2 · 2 · C)
    assert wide._unpatchify(patches)[0, 0, 2:4, 14:].tolist() == [[240.0, 244.0], [248.0, 252.0]]  # patch 15 = 8 + 7
    for name in ("pos_embed", "feat_rope.freqs_sin"):
        of_square, of_wide = (network.get_buffer(name).flatten(0, -2) for network in (square, wide))
        assert torch.equal(of_wide.unflatten(0, (4, 8))[:, :4], of_square.unflatten(0, (4, 4)))


@pytest.mark.parametrize(
    ("sizes", "fault"),
    [
        ({"input_size": 5, "patch_size": 2}, "input_size 5 is not a multiple of patch_size 2"),
        ({"input_size": 4, "patch_size": 2, "input_width": 7}, "input_width 7 is not a multiple of patch_size 2"),
        ({"hidden_size": 50, "num_heads": 4}, "hidden_size 50 is not a multiple of 4 and of num_heads 4"),
        ({"hidden_size": 24, "num_heads": 4}, "head width that is a multiple of 4, not 6"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"num_classes": None}, "num_classes must be set"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(sizes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        LightningDiT(replace(SMALL, **sizes))


def test_guidance_needs_label_dropout() -> None:
    network = LightningDiT(replace(SMALL, class_dropout_prob=0.0))
    assert network.y_embedder.embedding_table.num_embeddings == 3
    with pytest.raises(ValueError, match="class_dropout_prob > 0"):
        _ = network.no_label
