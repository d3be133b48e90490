"""VGGT gives the published network's numbers, loads released checkpoints, and saves no activations needlessly."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.testing import assert_close

from formats.errors import InputError
from networks.checkpoints import load_published, to_published
from networks.config import config_from
from networks.vggt import PRESETS, VGGT, VGGTConfig, VGGTOutput
from networks.vggt.aggregator import VITS, Aggregator
from networks.vggt.dpt_head import DPTHead
from networks.vggt.positions import pixel_vectors, rotary_tables, rotate
from tests.support.filling import filled_state_dict
from tests.support.tolerances import CLOSE, EXACT

PARITY = Path(__file__).parents[1] / "parity"
MAPS: tuple[Literal["depth", "depth_conf", "world_points", "world_points_conf"], ...] = (
    "depth",
    "depth_conf",
    "world_points",
    "world_points_conf",
)


class Published(NamedTuple):
    """Small configuration, published weights, and what the published network computes from them."""

    config: VGGTConfig
    weights: dict[str, Tensor]
    numbers: dict[str, Tensor]


@pytest.fixture(scope="module")
def fixture() -> Published:
    with safe_open(PARITY / "vggt_small.safetensors", framework="pt") as file:
        settings = json.loads(file.metadata()["config"])
        numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = VGGTConfig(
        vit=settings["vit"],
        embed_dim=settings["dim"],
        depth=settings["depth"],
        num_heads=settings["heads"],
        dpt_layers=tuple(settings["idx"]),
        dpt_out_channels=tuple(settings["oc"]),
        dpt_features=settings["feat"],
        enable_point=True,
    )
    weights = filled_state_dict(json.loads((PARITY / "vggt_small.keys.json").read_text()))
    return Published(config, weights, numbers)


@pytest.fixture(scope="module")
def published(fixture: Published) -> VGGT:
    network = VGGT(fixture.config).eval()
    load_published(network, fixture.weights)
    return network


@pytest.fixture(scope="module")
def output(published: VGGT, fixture: Published) -> VGGTOutput:
    with torch.no_grad():
        return call(published, fixture.numbers["images"])


def call(network: VGGT, images: Tensor) -> VGGTOutput:
    """Run the network; `nn.Module.__call__` has no return type."""
    output: VGGTOutput = network(images)
    return output


def pair(height: int = 28, width: int = 42, frames: int = 2, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


def small(gradient_checkpointing: bool = False, frames_chunk_size: int = 8, **settings: Any) -> VGGT:
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], **settings)
    return VGGT(config, gradient_checkpointing=gradient_checkpointing, frames_chunk_size=frames_chunk_size)


NARROW = VGGTConfig(
    vit="tiny",
    embed_dim=192,
    depth=6,
    num_heads=3,
    dpt_layers=(0, 2, 3, 4),
    dpt_out_channels=(8, 8, 8, 8),
    dpt_features=8,
    camera_depth=1,
    camera_num_heads=4,
)


def scalar(output: VGGTOutput) -> Tensor:
    """A number to which every output contributes."""
    parts = [*output["pose_enc_list"], *(output[name] for name in MAPS if name in output)]
    return torch.stack([(part * torch.linspace(-1, 1, part.numel()).view(part.shape)).sum() for part in parts]).sum()


@contextmanager
def saved_for_backward() -> Iterator[list[Tensor]]:
    """Collect the tensors that autograd saves for the backward pass."""
    saved: list[Tensor] = []

    def save(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        yield saved


def part(network: nn.Module, name: str) -> Any:
    """Return a submodule by name, as `nn.Module` attributes have no types."""
    return network.get_submodule(name)


@torch.no_grad()
def test_tokens_of_the_last_layer(published: VGGT, fixture: Published) -> None:
    tokens = published.aggregator(fixture[2]["images"], (3,))[3]
    assert_close(tokens[:, :, :8], fixture[2]["tokens_last"], **CLOSE)


def test_pose_encodings_of_every_iteration(output: VGGTOutput, fixture: Published) -> None:
    assert_close(torch.stack(output["pose_enc_list"]), fixture[2]["pose_enc"], **CLOSE)


@pytest.mark.parametrize("name", MAPS)
def test_dense_maps(output: VGGTOutput, fixture: Published, name: str) -> None:
    assert_close(dict(output)[name], fixture[2][name], **CLOSE)


def test_written_and_read_again_it_is_the_same_network(published: VGGT, fixture: Published, output: VGGTOutput) -> None:
    config, weights, numbers = fixture
    written = to_published(published)
    dropped = "aggregator.patch_embed.mask_token"
    assert {n: t.shape for n, t in written.items()} == {n: t.shape for n, t in weights.items() if n != dropped}
    # The class position lies in the class token now; every other value is as it came.
    positions, token = (f"aggregator.patch_embed.{name}" for name in ("pos_embed", "cls_token"))
    assert written[positions][:, 0].abs().max() == 0
    assert_close(written[positions][:, 1:], weights[positions][:, 1:], **EXACT)
    for name in written.keys() - {positions, token}:
        assert_close(written[name], weights[name], **EXACT)
    again = VGGT(config).eval()
    load_published(again, written)
    with torch.no_grad():
        assert_close(dict(again(numbers["images"])), dict(output), **EXACT)


def test_released_checkpoint_is_accounted_for() -> None:
    shapes = json.loads((PARITY / "vggt_1b.keys.json").read_text())
    with torch.device("meta"):
        network = VGGT(replace(PRESETS["VGGT-1B"], enable_point=True))
        released = {name: torch.empty(shape) for name, shape in shapes.items()}
    report = load_published(network, released)
    assert len(report.loaded) + len(report.dropped) == len(shapes)
    outside = {n for n in shapes if n.startswith("track_head.") or n == "aggregator.patch_embed.mask_token"}
    assert report.dropped.keys() == outside
    kept = {name: shape for name, shape in shapes.items() if name not in outside}
    assert {name: list(tensor.shape) for name, tensor in to_published(network).items()} == kept


@pytest.mark.parametrize("head", ["camera", "depth", "point"])
def test_disabled_heads_are_dropped_by_name(fixture: Published, head: str) -> None:
    config, weights, _ = fixture
    disabled: dict[str, Any] = {f"enable_{head}": False}
    with torch.device("meta"):
        network = VGGT(replace(config, **disabled))
    report = load_published(network, weights)
    dropped = {name for name, reason in report.dropped.items() if reason == f"the {head} head is not enabled"}
    assert dropped == {name for name in weights if name.startswith(f"{head}_head.")} != set()
    with pytest.raises(InputError, match="missing"):
        load_published(VGGT(config), {n: w for n, w in weights.items() if n not in dropped})


def test_rotary_turns_by_row_then_column_and_leaves_prefix_tokens() -> None:
    cos, sin = rotary_tables(8, (2, 3), num_prefix=1, frames=2, device=torch.device("cpu"))
    x = torch.randn(14, 8)
    turned = rotate(x, cos, sin)
    assert_close(turned[[0, 7]], x[[0, 7]], **EXACT)  # the camera tokens of either frame
    patch = 1 + 1 * 3 + 2  # of the first frame, second row and third column: positions 2 and 3
    for half, position in ((slice(0, 4), 2), (slice(4, 8), 3)):
        a, b = x[patch, half].view(2, 2)  # a channel's partner is two further on
        angle = position * torch.tensor([1.0, 100**-0.5])
        expected = torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()])
        assert_close(turned[patch, half], expected)


def test_pixel_vectors_against_their_formula() -> None:
    column, row = pixel_vectors(8, (3, 5), aspect=2.0, device=torch.device("cpu"))
    assert column.shape == (4, 1, 5)
    assert row.shape == (4, 3, 1)
    x, y = 2 / 5**0.5 * 4 / 5, -1 / 5**0.5 * 2 / 3  # the right end, and the upper
    expected = [torch.tensor([p, p * 100**-0.5], dtype=torch.float64) for p in (x, y)]
    assert_close(column[:, 0, -1], torch.cat([expected[0].sin(), expected[0].cos()]).float())
    assert_close(row[:, 0, 0], torch.cat([expected[1].sin(), expected[1].cos()]).float())


def test_the_patch_network_is_timms() -> None:
    """Built from sizes, it has the names and shapes of timm's models of the same sizes."""
    import timm

    with torch.device("meta"):
        for size in ("small", "base", "large"):
            theirs = timm.create_model(
                f"vit_{size}_patch14_reg4_dinov2", num_classes=0, img_size=518, dynamic_img_size=True
            )
            name = f"dinov2_vit{size[0]}14_reg"
            ours = Aggregator(name, VITS[name].embed_dim, 1, VITS[name].num_heads, 0.01, False).patch_embed
            assert {n: p.shape for n, p in ours.state_dict().items()} == {
                n: p.shape for n, p in theirs.state_dict().items()
            }
            assert part(ours, "blocks.0.attn").num_heads == part(theirs, "blocks.0.attn").num_heads
            assert part(ours, "norm").eps == part(theirs, "norm").eps == 1e-6


@torch.no_grad()
def test_first_frame_is_the_reference_and_scenes_do_not_mix() -> None:
    network = small(enable_point=True).eval()
    network.aggregator.camera_token.normal_()
    network.aggregator.register_token.normal_()
    images = pair(frames=3, batch=2)
    both = network(images)
    alone = network(images[1:])
    assert_close(both["depth"][1:], alone["depth"])
    assert_close(both["pose_enc_list"][-1][1:], alone["pose_enc_list"][-1])
    swapped = network(images[:, [0, 2, 1]])
    assert_close(swapped["depth"], both["depth"][:, [0, 2, 1]])
    reference_swapped = network(images[:, [1, 0, 2]])
    assert (reference_swapped["depth"] - both["depth"][:, [1, 0, 2]]).abs().max() > 1e-4


def test_only_layers_that_are_read_are_kept_and_run() -> None:
    network = VGGT(NARROW)
    assert network.layers_read == (0, 2, 3, 4, 5)
    without_camera = VGGT(replace(NARROW, enable_camera=False))
    assert without_camera.layers_read == (0, 2, 3, 4)
    camera_only = VGGT(replace(NARROW, enable_depth=False))
    assert camera_only.layers_read == (5,)
    runs = []
    for index, block in enumerate(without_camera.aggregator.global_blocks):
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
    with torch.no_grad():
        kept = without_camera.aggregator(pair(), without_camera.layers_read)
        output = without_camera(pair())
    assert list(kept) == [0, 2, 3, 4]
    assert runs == 2 * [0, 1, 2, 3, 4]
    assert set(output) == {"depth", "depth_conf"}


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_frozen_aggregator_leaves_nothing_for_backward(gradient_checkpointing: bool) -> None:
    network = small(gradient_checkpointing=gradient_checkpointing)
    with saved_for_backward() as saved:
        network.aggregator(pair(), (3,))
    assert saved or gradient_checkpointing  # it would, were it not frozen
    network.aggregator.requires_grad_(False)
    with saved_for_backward() as saved:
        kept = network.aggregator(pair(), network.layers_read)
    assert not saved
    assert not any(tokens.requires_grad for tokens in kept.values())
    scalar(network(pair())).backward()
    assert all(p.grad is None for p in network.aggregator.parameters())
    assert all(p.grad is not None for p in part(network, "depth_head").parameters())


def test_frozen_blocks_before_the_first_that_trains_leave_nothing_and_are_not_recomputed() -> None:
    network = small(gradient_checkpointing=True)
    aggregator = network.aggregator
    aggregator.requires_grad_(False)
    for blocks in (aggregator.frame_blocks, aggregator.global_blocks):
        blocks[3].requires_grad_(True)
    runs = []
    for name, module in aggregator.named_modules():
        if re.fullmatch(r"(patch_embed\.blocks|frame_blocks|global_blocks)\.\d", name):
            module.register_forward_pre_hook(lambda *_, name=name: runs.append(name))
    output = network(pair())
    assert len(runs) == len(set(runs)) == 12
    scalar(output).backward()
    assert sorted(runs[12:]) == ["frame_blocks.3", "global_blocks.3"]
    network.aggregator.gradient_checkpointing = False
    with saved_for_backward() as saved:
        aggregator(pair(), (2,))
    assert not saved


def test_recomputing_gives_the_same_gradients_with_less_memory() -> None:
    # In float64, as the sum over all pixels cancels: in float32 its rounding depends on the chunks.
    plain = small(enable_point=True).double()
    lean = small(enable_point=True, gradient_checkpointing=True, frames_chunk_size=1).double()
    lean.load_state_dict(plain.state_dict())
    sizes = []
    for network in (plain, lean):
        with saved_for_backward() as saved:
            output = network(pair())
        sizes.append(sum({t.untyped_storage().data_ptr(): t.nbytes for t in saved}.values()))
        scalar(output).backward()
    assert sizes[1] < sizes[0] / 2
    for (name, a), b in zip(plain.named_parameters(), lean.parameters(), strict=True):
        assert a.grad is not None, name
        assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-5 * float(a.grad.abs().max()), msg=name)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_chunks_change_nothing(size: int) -> None:
    whole, chunked = small(frames_chunk_size=8), small(frames_chunk_size=size)
    images, frames_seen = pair(frames=5), []
    part(chunked, "depth_head.scratch").register_forward_hook(
        lambda _, inputs, __: frames_seen.append(len(inputs[0][0]))
    )
    with torch.no_grad():
        a, b = whole(images), chunked(images)
    assert_close(dict(b), dict(a))
    assert max(frames_seen) == size
    assert sum(frames_seen) == 5


def test_camera_iterations_learn_their_own_step_only() -> None:
    network = small(enable_depth=False)
    encodings = network(pair())["pose_enc_list"]
    seen = []
    part(network, "camera_head.embed_pose").register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].requires_grad)
    )
    again = network(pair())["pose_enc_list"]
    assert seen == [True, False, False, False]  # the learnt start, then detached encodings
    assert_close(again, encodings)
    assert all((encoding[..., 7:] >= 0).all() for encoding in encodings)


def test_a_validation_in_inference_mode_does_not_spoil_training() -> None:
    network = small()
    with torch.inference_mode():
        network(pair())
    scalar(network(pair())).backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
    assert any(p.grad is not None for p in network.parameters())


def test_tables_are_computed_once_and_are_not_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small().eval()
    names = set(network.state_dict())
    with torch.no_grad():
        first = network(pair())
        monkeypatch.setattr("networks.vggt.aggregator.rotary_tables", None)  # to call it would raise
        monkeypatch.setattr("networks.vggt.dpt_head.pixel_vectors", None)
        assert_close(dict(network(pair())), dict(first), **EXACT)
        with pytest.raises(TypeError):
            network(pair(42, 28))
    assert set(network.state_dict()) == names
    assert not list(network.named_buffers())
    copy.deepcopy(network)


@torch.no_grad()
def test_heads_stay_in_float32_under_autocast() -> None:
    network = small(enable_point=True).eval()
    seen = {}
    for name in (
        "camera_head.pose_branch.fc1",
        "depth_head.scratch.output_conv1",
        "aggregator.global_blocks.0.mlp.fc1",
    ):
        network.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    exact = network(pair())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(pair())
    assert list(seen.values()).count(torch.float32) == 2
    assert seen["aggregator.global_blocks.0.mlp.fc1"] == torch.bfloat16
    assert_close(mixed["depth"], exact["depth"], rtol=0.05, atol=0)  # bf16 has 8 bits
    assert mixed["pose_enc_list"][0].dtype == mixed["world_points"].dtype == torch.float32


@torch.no_grad()
def test_frozen_weights_in_bfloat16_change_nothing_under_autocast() -> None:
    network = small().eval()
    network.aggregator.patch_embed.requires_grad_(False)
    network.aggregator.frame_blocks.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(pair())
    network.aggregator.store_frozen()
    assert part(network, "aggregator.frame_blocks.0.attn.qkv").weight.dtype == torch.bfloat16
    assert part(network, "aggregator.frame_blocks.0.norm1").weight.dtype == torch.float32
    assert part(network, "aggregator.global_blocks.0.attn.qkv").weight.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(dict(network(pair())), dict(expected), **EXACT)
    assert_close(dict(network(pair())), dict(expected), **EXACT)  # without autocast it enables its own


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.1), (torch.float64, 1e-4)])
def test_other_types_of_weights(dtype: torch.dtype, tolerance: float) -> None:
    network = small().eval()
    exact = network(pair())["depth"]
    depth = network.to(dtype)(pair())["depth"]
    assert depth.dtype == torch.float32
    assert_close(depth, exact, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 3, 28, 30), "height 28 and width 30 must be multiples of 14"),
        ((1, 2, 3, 27, 28), "multiples of 14"),
        ((2, 3, 28, 28), r"\(batch, frames, 3, height, width\)"),
        ((1, 2, 1, 28, 28), r"\(batch, frames, 3, height, width\)"),
        ((1, 0, 3, 28, 28), "without a zero"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small()(torch.rand(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vit": "dinov2_vith14"}, "dinov2_vitl14_reg"),
        ({"embed_dim": 384}, "embed_dim must be 192, the width of tiny, not 384"),
        ({"num_heads": 5, "camera_num_heads": None}, "camera_num_heads must divide .* 384, which 5 does not"),
        ({"num_heads": 5}, "multiple of 4"),
        ({"dpt_layers": (0, 1, 2, 4)}, "0…3"),
        ({"dpt_layers": (1, 0, 2, 3)}, "four rising layers"),
        ({"dpt_out_channels": (8, 8, 8, 6)}, "multiples of 4"),
        ({"camera_num_heads": 7}, "which 7 does not"),
        ({"dpt_features": 12}, "dpt_features must be a multiple of 8, not 12"),
        ({"enable_camera": False, "enable_depth": False}, "needs a head"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        VGGT(replace(PRESETS["tiny"], **settings))


def test_chunks_of_no_frames_are_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="frames_chunk_size must be at least 1, not 0"):
        VGGT(PRESETS["tiny"], frames_chunk_size=0)


def test_the_default_is_the_released_size() -> None:
    assert PRESETS["VGGT-1B"] == VGGTConfig()
    with torch.device("meta"):
        assert VGGT().config == VGGTConfig()


def test_settings_survive_a_checkpoint(tmp_path: Path) -> None:
    config = replace(PRESETS["tiny"], enable_point=True)
    torch.save({"network": asdict(config)}, tmp_path / "settings.pt")
    stored = torch.load(tmp_path / "settings.pt", weights_only=True)["network"]
    assert config_from(VGGTConfig, stored) == config


def test_start_values_are_the_published_ones() -> None:
    network = small(init_values=0.01)
    aggregator = network.aggregator
    assert (part(aggregator, "frame_blocks.0.ls1").gamma == 0.01).all()
    assert (part(network, "camera_head.trunk.0.ls2").gamma == 0.01).all()
    assert (part(aggregator, "patch_embed.blocks.0.ls1").gamma == 1).all()
    assert 0 < aggregator.camera_token.abs().max() < 1e-5


@pytest.mark.slow
def test_tiny_learns_a_pair() -> None:
    """Depth that follows brightness, and one pose, from random weights."""
    network = small()
    coarse = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(56, 70), mode="bilinear").unsqueeze(0)
    depth, pose = 0.5 + images.mean(2), torch.tensor([0.3, 0, 0, 0, 0, 0, 1, 0.8, 0.9])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    losses = []
    for _ in range(25):
        output = network(images)
        depth_error = (output["depth"][..., 0] - depth).abs().mean()
        pose_error = (output["pose_enc_list"][-1] - pose).abs().mean()
        optimizer.zero_grad()
        (depth_error + pose_error).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append((depth_error.item(), pose_error.item()))
    assert losses[-1][0] < losses[0][0] / 1.5
    assert losses[-1][1] < losses[0][1] / 2


def test_head_takes_tokens_of_any_type() -> None:
    head = DPTHead(16, (4, 4, 4, 4), 8, "points", patch_size=14, frames_chunk_size=8, gradient_checkpointing=False)
    values, confidence = head([torch.randn(1, 2, 6, 16).bfloat16()] * 4, (2, 3))
    assert values.shape == (1, 2, 28, 42, 3)
    assert confidence.shape == (1, 2, 28, 42)
    assert (confidence > 1).all()
