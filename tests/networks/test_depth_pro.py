"""The layer index network gives Depth Pro's numbers, fits its released checkpoint, and computes nothing it need not."""

import itertools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch.testing import assert_close

from formats.errors import InputError
from networks.checkpoints import load_published, to_published
from networks.depth_pro import LayerIndexNet, layer_index_net
from tests.support.filling import filled_state_dict

PARITY = Path(__file__).parents[1] / "parity"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
EXACT = {"rtol": 0, "atol": 0}
SIDE = 512  # of the images of networks of window 128


@pytest.fixture(scope="module")
def fixture():
    """The small configuration's arguments, published weights, and published numbers."""
    with safe_open(PARITY / "depthpro_small.safetensors", framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arguments = {
        "embed_dim": config["dim"],
        "depth": config["depth"],
        "num_heads": config["heads"],
        "hook_blocks": config["hooks"],
        "encoder_dims": config["dims"],
        "decoder_features": config["feat"],
    }
    weights = filled_state_dict(json.loads((PARITY / "depthpro_small.keys.json").read_text()))
    return arguments, weights, numbers


@pytest.fixture(scope="module")
def image(fixture):
    seed = fixture[2]["image_seed"]
    return F.interpolate(seed, size=(1536, 1536), mode="bilinear", align_corners=False).tanh()


@pytest.fixture(scope="module")
def published(fixture):
    arguments, weights, _ = fixture
    network = LayerIndexNet(**arguments).eval()
    load_published(network, weights)
    return network


@pytest.fixture(scope="module")
def levels(published, image):
    with torch.no_grad():
        return published.encode(image)


@pytest.fixture(scope="module")
def features(published, levels):
    """Decoder features, and the coarsest level as the decoder sees it."""
    seen = {}
    hook = published.decoder.convs[4].register_forward_hook(lambda _, __, output: seen.update(lowres=output.clone()))
    with torch.no_grad():
        features = published.decode(levels)
    hook.remove()
    return features, seen["lowres"]


@pytest.fixture(scope="module")
def index(published, image):
    with torch.no_grad():
        return published(image)


def tiny(**arguments):
    """A network for the questions that do not depend on size."""
    torch.manual_seed(0)
    sizes = {
        "vit": "vit_small_patch14_dinov2",
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "hook_blocks": (0, 1),
        "encoder_dims": (8, 12, 16, 20),
        "decoder_features": 8,
        "window": 128,
        "init_values": 1.0,
    }
    return LayerIndexNet(**{**sizes, **arguments})


def pictures(batch=1, seed=0):
    return torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def scalar(index):
    """A number to which every pixel contributes its own."""
    return (index * torch.linspace(-1, 1, index.numel()).view(index.shape)).sum()


def gradients(network, image, dtype=None):
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
        index = network(image)
    scalar(index).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_gradients_close(actual, expected):
    """Equal to rounding, which sums over many pixels: measured against each tensor's own size."""
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (actual[name] - gradient).norm() <= 1e-3 * gradient.norm(), name


@pytest.mark.parametrize("level", range(5))
def test_levels_of_the_encoder(levels, fixture, level):
    assert_close(levels[level].mean((0, 2, 3)), fixture[2][f"enc{level}_mean"], **CLOSE)
    assert levels[level].shape[2:] == (768 // 2**level, 768 // 2**level)


def test_features_of_the_decoder(features, fixture):
    features, lowres = features
    assert_close(features[:, :, ::48, ::48], fixture[2]["decoder_features"], **CLOSE)
    assert_close(lowres[:, :, ::4, ::4], fixture[2]["lowres"], **CLOSE)


@torch.no_grad()
def test_layer_index(published, features, index, fixture):
    before = published.head(features[0])
    assert_close(before[:, :, ::32, ::32], fixture[2]["head_pre_activation"], **CLOSE)
    assert_close(index[:, :, ::32, ::32], fixture[2]["layer_index_sigmoid"], **CLOSE)
    assert index.shape == (1, 1, 1536, 1536)


def test_written_back_and_read_again_it_is_the_same_network(published, fixture, image, index):
    arguments, weights, _ = fixture
    written = to_published(published)
    unused = {name for name in weights if name.startswith("decoder.fusions.4.resnet1.")}
    assert len(unused) == 4
    assert written.keys() == weights.keys() - unused
    for name, tensor in written.items():
        assert_close(tensor, weights[name], **EXACT)
    again = LayerIndexNet(**arguments).eval()
    load_published(again, written | {name: weights[name] for name in unused})
    with torch.no_grad():
        assert_close(again(image), index, **EXACT)


def test_released_checkpoint_is_accounted_for():
    shapes = json.loads((PARITY / "depthpro_full.keys.json").read_text())
    with torch.device("meta"):
        network = layer_index_net("DepthPro-L")
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


def test_a_loaded_bias_stays_until_it_is_restarted(fixture):
    arguments, weights, _ = fixture
    network = LayerIndexNet(**arguments)
    assert network.head[-1].bias.item() == 0
    load_published(network, weights)
    assert network.head[-1].bias.item() == weights["head.4.bias"].item() != 0
    network.restart_last_bias()
    assert network.head[-1].bias.item() == 0
    assert_close(network.head[-1].weight.detach(), weights["head.4.weight"], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(("window", "batch"), [(96, 2), (128, 2), (256, 1)])
def test_windows_and_merging_against_a_loop(window, batch):
    """With windows cut out of the pixels one by one and pasted one by one, as the specification has it."""
    network = tiny(window=window).eval()
    encoder, tokens = network.encoder, window // 16
    image = torch.rand(batch, 3, 4 * window, 4 * window) * 2 - 1
    half, quarter = (F.interpolate(image, scale_factor=s, mode="bilinear", align_corners=False) for s in (0.5, 0.25))

    def seen(vit, picture, block=None):
        taken = []
        module = vit.norm if block is None else vit.blocks[block]
        hook = module.register_forward_hook(lambda _, __, output: taken.append(output))
        vit(picture)
        hook.remove()
        return taken[0][:, 1:].transpose(1, 2).unflatten(2, (tokens, tokens))

    # Six tokens leave no even spacing: 4½ apart, begun at whole ones.
    full_starts = [0, 4, 9, 14, 18] if window == 96 else [number * 3 * tokens // 4 for number in range(5)]
    half_starts = [number * tokens // 2 for number in range(3)]

    def pasted(picture, starts, block=None):
        """Each window gives the middle of what it shares with the next, half to either."""
        side = picture.shape[-1] // 16
        whole = torch.full((batch, 32, side, side), float("nan"))
        cuts = [0, *((a + tokens - b) // 2 for a, b in itertools.pairwise(starts))]
        for y, top in zip(starts, cuts, strict=True):
            for x, left in zip(starts, cuts, strict=True):
                rows, columns = slice(16 * y, 16 * y + window), slice(16 * x, 16 * x + window)
                features = seen(encoder.patch_encoder, picture[:, :, rows, columns], block)
                y_kept, x_kept = y + top, x + left
                part = features[:, :, top:, left:]
                whole[:, :, y_kept : y_kept + part.shape[2], x_kept : x_kept + part.shape[3]] = part
        return whole

    full = pasted(image, full_starts)
    low = torch.cat(
        [
            encoder.upsample2(seen(encoder.patch_encoder, quarter)),
            encoder.upsample_lowres(seen(encoder.image_encoder, quarter)),
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
def test_images_of_a_batch_do_not_mix():
    network = tiny().eval()
    both = network(pictures(2))
    assert_close(network(pictures(2)[1:]), both[1:], **CLOSE)
    assert (both[0] - both[1]).abs().max() > 1e-4


@torch.no_grad()
def test_each_token_passes_each_block_once():
    """35 windows per image through the patch encoder and one through the image encoder, in one batch or in chunks."""
    network, passed = tiny().eval(), {}
    for name in ("patch_encoder", "image_encoder"):
        for index, block in enumerate(network.encoder.get_submodule(name).blocks):
            passed[name, index] = []
            block.register_forward_hook(lambda _, i, __, key=(name, index): passed[key].append(len(i[0])))
    network(pictures(2))
    assert all(sizes == [70 if name == "patch_encoder" else 2] for (name, _), sizes in passed.items())
    for sizes in passed.values():
        sizes.clear()
    network.encoder.window_chunk_size = 32
    network(pictures(2))
    assert all(sizes == ([32, 32, 6] if name == "patch_encoder" else [2]) for (name, _), sizes in passed.items())


@pytest.mark.parametrize("size", [1, 25, 26, 70, 100])
def test_chunks_of_windows_change_nothing(size):
    expected, chunked = tiny(), tiny(window_chunk_size=size)
    image = pictures(2)
    assert_close(chunked(image), expected(image), **CLOSE)
    if size == 26:
        assert_gradients_close(gradients(chunked, image), gradients(expected, image))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_recomputing_in_the_backward_pass_changes_no_gradient(dtype):
    expected = gradients(tiny(), pictures(), dtype)
    assert_close(gradients(tiny(gradient_checkpointing=True), pictures(), dtype), expected, **EXACT)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in expected.values())


def saved_bytes(network, image):
    """Bytes that autograd keeps for the backward pass, weights apart."""
    kept = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(image)
    return sum(storage.nbytes() for storage in kept.values())


def test_recomputing_keeps_less():
    assert saved_bytes(tiny(gradient_checkpointing=True), pictures()) < saved_bytes(tiny(), pictures()) / 3


def test_a_frozen_encoder_keeps_nothing():
    network = tiny()
    whole = saved_bytes(network, pictures())
    for parameter in network.encoder_parameters():
        parameter.requires_grad_(False)
    frozen = saved_bytes(network, pictures())
    assert frozen < whole
    scalar(network(pictures())).backward()
    assert all(parameter.grad is None for parameter in network.encoder_parameters())
    assert all(parameter.grad is not None for parameter in network.decoder_parameters())


@torch.no_grad()
def test_bfloat16_under_autocast():
    network, seen = tiny().eval(), {}
    for name in ("encoder.patch_encoder.blocks.0.mlp.fc1", "decoder.fusions.0.out_conv", "head.0"):
        network.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    exact = network(pictures())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(pictures())
    assert set(seen.values()) == {torch.bfloat16}
    assert mixed.dtype == torch.float32
    assert mixed.isfinite().all()
    assert_close(mixed, exact, rtol=0, atol=0.02)
    assert network.bfloat16()(pictures()).dtype == torch.float32


def test_compiles_into_one_graph():
    network = tiny()
    expected = gradients(network, pictures())
    index = network(pictures())
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    actual = compiled(pictures())
    assert_close(actual, index, **CLOSE)
    network.zero_grad()
    scalar(actual).backward()
    assert_gradients_close({name: parameter.grad for name, parameter in network.named_parameters()}, expected)


def test_parameter_groups_cover_every_parameter_once():
    network = tiny()
    encoder, decoder = list(network.encoder_parameters()), list(network.decoder_parameters())
    groups = [id(parameter) for parameter in encoder + decoder]
    assert len(groups) == len(set(groups))
    assert set(groups) == {id(parameter) for parameter in network.parameters()}
    vits = [*network.encoder.patch_encoder.parameters(), *network.encoder.image_encoder.parameters()]
    assert {id(parameter) for parameter in encoder} == {id(parameter) for parameter in vits}


@torch.no_grad()
def test_the_index_starts_in_the_middle():
    network = layer_index_net("tiny")
    index = network(torch.rand(1, 3, network.image_size, network.image_size) * 2 - 1)
    assert 0.45 < index.min() < index.max() < 0.55
    assert index.std() > 1e-4


def test_tiny_learns_a_picture():
    """The order of three overlapping squares, from random weights."""
    torch.manual_seed(0)
    network = layer_index_net("tiny")
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
def test_images_that_do_not_fit_are_refused(shape):
    with torch.device("meta"), pytest.raises(ValueError, match=r"\(batch, 3, 512, 512\)"):
        tiny()(torch.empty(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 100}, "window 100 is no whole number of patches.*take 96, 128 or 384"),
        ({"window": 16}, "window 16"),
        ({"window": 0}, "window 0"),
        ({"vit": "vit_enormous"}, "vit_enormous"),
        ({"vit": "resnet18"}, "resnet18"),
        ({"num_heads": 5}, "num_heads 5"),
        ({"hook_blocks": (1, 3)}, "0…2"),
        ({"hook_blocks": (1, 0)}, "rising"),
        ({"hook_blocks": (1,)}, "two rising"),
        ({"encoder_dims": (8, 8, 8)}, "four"),
        ({"decoder_features": 7}, "an even one"),
        ({"window_chunk_size": 0}, "window_chunk_size 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="DepthPro-L, tiny"):
        layer_index_net("DepthPro-XL")
