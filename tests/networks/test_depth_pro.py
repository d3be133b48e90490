"""The layer index network: parity with Depth Pro, its released checkpoint, memory and computation."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn
from torch.testing import assert_close

from formats.errors import InputError
from networks.checkpoints import load_published, to_published
from networks.depth_pro import PRESETS, DepthProConfig, LayerIndexNet
from tests.support.filling import filled_state_dict
from tests.support.tolerances import CLOSE, EXACT

PARITY = Path(__file__).parents[1] / "parity"
SIDE = 512  # image side of networks with window 128


Fixture = tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture(scope="module")
def fixture() -> Fixture:
    """Settings of a small network, with weights and outputs of the published code."""
    with safe_open(PARITY / "depthpro_small.safetensors", framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arguments = {
        "embed_dim": config["dim"],
        "depth": config["depth"],
        "num_heads": config["heads"],
        "hook_blocks": tuple(config["hooks"]),
        "encoder_dims": tuple(config["dims"]),
        "decoder_features": config["feat"],
    }
    weights = filled_state_dict(json.loads((PARITY / "depthpro_small.keys.json").read_text()))
    return arguments, weights, numbers


@pytest.fixture(scope="module")
def image(fixture: Fixture) -> Tensor:
    seed = fixture[2]["image_seed"]
    return F.interpolate(seed, size=(1536, 1536), mode="bilinear", align_corners=False).tanh()


@pytest.fixture(scope="module")
def published(fixture: Fixture) -> LayerIndexNet:
    arguments, weights, _ = fixture
    network = LayerIndexNet(DepthProConfig(**arguments)).eval()
    load_published(network, weights)
    return network


@pytest.fixture(scope="module")
def levels(published: LayerIndexNet, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return published.encode(image)


@pytest.fixture(scope="module")
def features(published: LayerIndexNet, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Decoder features, and the coarsest level as the decoder receives it."""
    outputs: dict[str, Tensor] = {}
    hook = published.decoder.convs[4].register_forward_hook(lambda _, __, output: outputs.update(lowres=output.clone()))
    with torch.no_grad():
        features = published.decode(levels)
    hook.remove()
    return features, outputs["lowres"]


@pytest.fixture(scope="module")
def index(published: LayerIndexNet, image: Tensor) -> Tensor:
    with torch.no_grad():
        index: Tensor = published(image)
    return index


TINY = DepthProConfig(
    vit="vit_small_patch14_dinov2",
    embed_dim=32,
    depth=3,
    num_heads=2,
    hook_blocks=(0, 1),
    encoder_dims=(8, 12, 16, 20),
    decoder_features=8,
    window=128,
    init_values=1.0,
)


def tiny(config: DepthProConfig = TINY, **options: Any) -> LayerIndexNet:
    """Build a network for tests that do not depend on size."""
    torch.manual_seed(0)
    return LayerIndexNet(config, **options)


def random_images(batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def scalar(index: Tensor) -> Tensor:
    """Reduce an index to a number by a different weight for every pixel."""
    return (index * torch.linspace(-1, 1, index.numel()).view(index.shape)).sum()


def gradients(network: nn.Module, image: Tensor, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
        index = network(image)
    scalar(index).backward()
    return present_gradients(network)


def present_gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def assert_gradients_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare relative to each tensor's norm, since rounding errors add up over many pixels."""
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= 1e-3 * gradient.norm(), name


@pytest.mark.parametrize("level", range(5))
def test_levels_of_the_encoder(levels: list[Tensor], fixture: Fixture, level: int) -> None:
    assert_close(levels[level].mean((0, 2, 3)), fixture[2][f"enc{level}_mean"], **CLOSE)
    assert levels[level].shape[2:] == (768 // 2**level, 768 // 2**level)


def test_features_of_the_decoder(features: tuple[Tensor, Tensor], fixture: Fixture) -> None:
    decoded, lowres = features
    assert_close(decoded[:, :, ::48, ::48], fixture[2]["decoder_features"], **CLOSE)
    assert_close(lowres[:, :, ::4, ::4], fixture[2]["lowres"], **CLOSE)


@torch.no_grad()
def test_layer_index(
    published: LayerIndexNet, features: tuple[Tensor, Tensor], index: Tensor, fixture: Fixture
) -> None:
    before = published.head(features[0])
    assert_close(before[:, :, ::32, ::32], fixture[2]["head_pre_activation"], **CLOSE)
    assert_close(index[:, :, ::32, ::32], fixture[2]["layer_index_sigmoid"], **CLOSE)
    assert index.shape == (1, 1, 1536, 1536)


def test_published_format_round_trip(published: LayerIndexNet, fixture: Fixture, image: Tensor, index: Tensor) -> None:
    arguments, weights, _ = fixture
    written = to_published(published)
    unused = {name for name in weights if name.startswith("decoder.fusions.4.resnet1.")}
    assert len(unused) == 4
    assert written.keys() == weights.keys() - unused
    for name, tensor in written.items():
        assert_close(tensor, weights[name], **EXACT)
    again = LayerIndexNet(DepthProConfig(**arguments)).eval()
    load_published(again, written | {name: weights[name] for name in unused})
    with torch.no_grad():
        assert_close(again(image), index, **EXACT)


def test_released_checkpoint_is_accounted_for() -> None:
    shapes = json.loads((PARITY / "depthpro_full.keys.json").read_text())
    with torch.device("meta"):
        network = LayerIndexNet(PRESETS["DepthPro-L"])
        released = {name: torch.empty(shape) for name, shape in shapes.items()}
    report = load_published(network, released)
    assert len(report.loaded) + len(report.dropped) == len(shapes)
    field_of_view = {name for name in shapes if name.startswith("fov.")}
    unused = {name for name in shapes if name.startswith("decoder.fusions.4.resnet1.")}
    assert report.dropped.keys() == field_of_view | unused
    assert {report.dropped[name] for name in field_of_view} == {"a layer index has no field of view"}
    kept = {name: shape for name, shape in shapes.items() if name not in report.dropped}
    assert {name: list(tensor.shape) for name, tensor in to_published(network).items()} == kept
    with pytest.raises(InputError, match=r"missing: encoder\.fuse_lowres\.bias"):
        load_published(network, {n: t for n, t in released.items() if n != "encoder.fuse_lowres.bias"})


def test_a_loaded_bias_is_kept_until_it_is_reset(fixture: Fixture) -> None:
    arguments, weights, _ = fixture
    network = LayerIndexNet(DepthProConfig(**arguments))

    def last(name: str) -> Tensor:
        return network.head.get_parameter(f"4.{name}")

    assert last("bias").item() == 0
    load_published(network, weights)
    assert last("bias").item() == weights["head.4.bias"].item() != 0
    network.reset_last_bias()
    assert last("bias").item() == 0
    assert_close(last("weight").detach(), weights["head.4.weight"], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(("window", "batch"), [(96, 2), (128, 2), (256, 1)])
def test_windows_and_merging_against_a_loop(window: int, batch: int) -> None:
    """Windows are cut out of the pixels one by one and pasted one by one, as in the specification."""
    network = tiny(replace(TINY, window=window)).eval()
    encoder, tokens = network.encoder, window // 16
    image = torch.rand(batch, 3, 4 * window, 4 * window) * 2 - 1
    half, quarter = (F.interpolate(image, scale_factor=s, mode="bilinear", align_corners=False) for s in (0.5, 0.25))

    def encoded(vit: Any, image: Tensor, block: int | None = None) -> Tensor:
        outputs: list[Tensor] = []
        module = vit.norm if block is None else vit.blocks[block]
        hook = module.register_forward_hook(lambda _, __, output: outputs.append(output))
        vit(image)
        hook.remove()
        maps: Tensor = outputs[0][:, 1:].transpose(1, 2).unflatten(2, (tokens, tokens))
        return maps

    # With six tokens per window the even spacing of 4½ tokens is rounded to whole ones.
    full_starts = [0, 4, 9, 14, 18] if window == 96 else [number * 3 * tokens // 4 for number in range(5)]
    half_starts = [number * tokens // 2 for number in range(3)]

    def pasted(image: Tensor, starts: list[int], block: int | None = None) -> Tensor:
        """Paste windows; overlaps are split in the middle."""
        side = image.shape[-1] // 16
        whole = torch.full((batch, 32, side, side), float("nan"))
        cuts = [0, *((a + tokens - b) // 2 for a, b in itertools.pairwise(starts))]
        for y, top in zip(starts, cuts, strict=True):
            for x, left in zip(starts, cuts, strict=True):
                rows, columns = slice(16 * y, 16 * y + window), slice(16 * x, 16 * x + window)
                features = encoded(encoder.patch_encoder, image[:, :, rows, columns], block)
                y_kept, x_kept = y + top, x + left
                part = features[:, :, top:, left:]
                whole[:, :, y_kept : y_kept + part.shape[2], x_kept : x_kept + part.shape[3]] = part
        return whole

    full = pasted(image, full_starts)
    low = torch.cat(
        [
            encoder.upsample2(encoded(encoder.patch_encoder, quarter)),
            encoder.upsample_lowres(encoded(encoder.image_encoder, quarter)),
        ],
        dim=1,
    )
    expected = [
        encoder.upsample_latent0(pasted(image, full_starts, 0)),
        encoder.upsample_latent1(pasted(image, full_starts, 1)),
        encoder.upsample0(full),
        encoder.upsample1(pasted(half, half_starts)),
        encoder.fuse_lowres(low),
    ]
    assert_close(network.encode(image), expected, **CLOSE)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix() -> None:
    network = tiny().eval()
    both = network(random_images(2))
    assert_close(network(random_images(2)[1:]), both[1:], **CLOSE)
    assert (both[0] - both[1]).abs().max() > 1e-4


@torch.no_grad()
def test_each_token_passes_each_block_once() -> None:
    """35 windows per image through the patch encoder and one through the image encoder, in one batch or in chunks."""
    network = tiny().eval()
    passed: dict[tuple[str, int], list[int]] = {}
    encoder = network.encoder
    for name, vit in (("patch_encoder", encoder.patch_encoder), ("image_encoder", encoder.image_encoder)):
        for index, block in enumerate(vit.blocks):
            passed[name, index] = []
            block.register_forward_hook(lambda _, i, __, key=(name, index): passed[key].append(len(i[0])))
    network(random_images(2))
    assert all(sizes == [70 if name == "patch_encoder" else 2] for (name, _), sizes in passed.items())
    for sizes in passed.values():
        sizes.clear()
    network.encoder.window_chunk_size = 32
    network(random_images(2))
    assert all(sizes == ([32, 32, 6] if name == "patch_encoder" else [2]) for (name, _), sizes in passed.items())


@pytest.mark.parametrize("size", [1, 25, 26, 70, 100])
def test_chunks_of_windows_change_nothing(size: int) -> None:
    expected, chunked = tiny(), tiny(window_chunk_size=size)
    image = random_images(2)
    assert_close(chunked(image), expected(image), **CLOSE)
    if size == 26:
        assert_gradients_close(gradients(chunked, image), gradients(expected, image))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_gradient_checkpointing_does_not_change_gradients(dtype: torch.dtype | None) -> None:
    expected = gradients(tiny(), random_images(), dtype)
    assert_close(gradients(tiny(gradient_checkpointing=True), random_images(), dtype), expected, **EXACT)
    assert len(expected) == len(list(tiny().parameters()))
    assert all(gradient.abs().max() > 0 for gradient in expected.values())


def saved_bytes(network: nn.Module, image: Tensor) -> int:
    """Return the bytes that autograd saves for the backward pass, without weights."""
    saved = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage  # kept alive, so that addresses are not reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        network(image)
    return sum(storage.nbytes() for storage in saved.values())


def test_gradient_checkpointing_saves_less() -> None:
    assert saved_bytes(tiny(gradient_checkpointing=True), random_images()) < saved_bytes(tiny(), random_images()) / 3


def test_a_frozen_encoder_saves_nothing() -> None:
    network = tiny()
    whole = saved_bytes(network, random_images())
    for parameter in network.encoder_parameters():
        parameter.requires_grad_(False)
    frozen = saved_bytes(network, random_images())
    assert frozen < whole
    scalar(network(random_images())).backward()
    assert all(parameter.grad is None for parameter in network.encoder_parameters())
    assert all(parameter.grad is not None for parameter in network.decoder_parameters())


@torch.no_grad()
def test_bfloat16_under_autocast() -> None:
    network = tiny().eval()
    dtypes: dict[str, torch.dtype] = {}
    for name in ("encoder.patch_encoder.blocks.0.mlp.fc1", "decoder.fusions.0.out_conv", "head.0"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: dtypes.update({name: out.dtype})
        )
    exact = network(random_images())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(random_images())
    assert set(dtypes.values()) == {torch.bfloat16}
    assert mixed.dtype == torch.float32
    assert mixed.isfinite().all()
    assert_close(mixed, exact, rtol=0, atol=0.02)
    assert network.bfloat16()(random_images()).dtype == torch.float32


@pytest.mark.slow
def test_compiles_into_one_graph() -> None:
    network = tiny()
    expected = gradients(network, random_images())
    index = network(random_images())
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    actual = compiled(random_images())
    assert_close(actual, index, **CLOSE)
    network.zero_grad()
    scalar(actual).backward()
    assert_gradients_close(present_gradients(network), expected)


def test_parameter_groups_cover_every_parameter_once() -> None:
    network = tiny()
    encoder, decoder = list(network.encoder_parameters()), list(network.decoder_parameters())
    groups = [id(parameter) for parameter in encoder + decoder]
    assert len(groups) == len(set(groups))
    assert set(groups) == {id(parameter) for parameter in network.parameters()}
    vits = [*network.encoder.patch_encoder.parameters(), *network.encoder.image_encoder.parameters()]
    assert {id(parameter) for parameter in encoder} == {id(parameter) for parameter in vits}


@torch.no_grad()
def test_the_index_starts_in_the_middle() -> None:
    network = LayerIndexNet(PRESETS["tiny"])
    index = network(torch.rand(1, 3, network.image_size, network.image_size) * 2 - 1)
    assert 0.45 < index.min() < index.max() < 0.55
    assert index.std() > 1e-4


@pytest.mark.slow
def test_the_tiny_preset_learns_an_image() -> None:
    """The order of three overlapping squares, from random weights."""
    torch.manual_seed(0)
    network = LayerIndexNet(PRESETS["tiny"])
    side = network.image_size
    image, target = torch.full((1, 3, side, side), 0.9), torch.zeros(1, 1, side, side)
    for order, (start, colour) in enumerate(
        [(45, (0.8, -0.7, -0.6)), (120, (-0.7, 0.6, -0.8)), (195, (-0.5, -0.6, 0.9))]
    ):
        area = (..., slice(start, start + 128), slice(start, start + 128))
        image[area], target[area] = torch.tensor(colour).view(3, 1, 1), (order + 1) / 3
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(16):
        error = (network(image) - target).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    best_of_constants = (target - target.median()).abs().mean()
    assert error < best_of_constants / 2


@pytest.mark.parametrize(
    "shape", [(1, 3, 1536, 1536), (1, 3, 512, 384), (1, 1, 512, 512), (3, 512, 512), (0, 3, 512, 512)]
)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=r"\(batch, 3, 512, 512\)"):
        tiny()(torch.empty(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 100}, "window must be a multiple of 16 .*such as 96, 128 or 384, not 100"),
        ({"window": 16}, "at least 32.*not 16"),
        ({"window": 0}, "window must be .*not 0"),
        ({"vit": "vit_enormous"}, "vit_enormous"),
        ({"vit": "resnet18"}, "resnet18"),
        ({"num_heads": 5}, "num_heads must divide embed_dim = 32, which 5 does not"),
        ({"hook_blocks": (1, 3)}, "0…2"),
        ({"hook_blocks": (1, 0)}, "rising"),
        ({"hook_blocks": (1,)}, "two rising"),
        ({"encoder_dims": (8, 8, 8)}, "four"),
        ({"decoder_features": 7}, "an even number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        tiny(replace(TINY, **changes))


def test_chunks_of_no_windows_are_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="window_chunk_size must be at least 1, not 0"):
        tiny(window_chunk_size=0)
