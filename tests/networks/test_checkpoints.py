"""Loading and writing published checkpoints, with a toy network that uses all features of the mechanism."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from formats.errors import InputError
from networks.checkpoint_files import read_state_dict
from networks.checkpoints import LoadReport, PublishedTensor, ShapePair, load_published, same_names, to_published
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.vggt import PRESETS, VGGT
from tests.support.hub_cache import HubCache

WIDTH = 4


class Toy(nn.Module):
    """A class token folded as timm does, a linear published as a convolution, labels, computed tables."""

    published_dropped = {r"track_head\..*": "tracking is not part of this network"}
    published_computed = ("pos_embed", r"rope\..*")
    published_restartable = ("labels.weight",)

    pos_embed: torch.Tensor
    rope: nn.Module

    def __init__(self, classes: int = 3, rope: bool = True) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.patch_positions = nn.Parameter(torch.randn(1, 5, WIDTH))
        self.proj = nn.Linear(WIDTH, 6)
        self.labels = nn.Embedding(classes, WIDTH)
        self.register_buffer("pos_embed", torch.arange(6.0))
        self.rope = nn.Module()
        if rope:
            self.rope.register_buffer("cos", torch.arange(3.0).cos(), persistent=False)

    def published_tensors(self) -> list[PublishedTensor]:
        special = {
            "cls_token": PublishedTensor(
                "cls_token",
                ("vit.cls", "vit.pos"),
                read=lambda cls, positions: cls + positions[:, :1],
                write=lambda cls: (cls, None),
            ),
            "patch_positions": PublishedTensor(
                "patch_positions",
                ("vit.pos",),
                read=lambda positions: positions[:, 1:],
                write=lambda ours: (torch.cat([torch.zeros_like(ours[:, :1]), ours], 1),),
            ),
            "proj.weight": PublishedTensor(
                "proj.weight", ("out.w",), lambda w: w[:, :, 0, 0], lambda w: (w[:, :, None, None],)
            ),
            "proj.bias": PublishedTensor("proj.bias", ("out.b",)),
        }
        return [special.get(entry.ours, entry) for entry in same_names(self)]


def published(classes: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return {
        "vit.cls": torch.randn(1, 1, WIDTH),
        "vit.pos": torch.randn(1, 6, WIDTH),
        "out.w": torch.randn(6, WIDTH, 1, 1),
        "out.b": torch.randn(6),
        "labels.weight": torch.randn(classes, WIDTH),
        "pos_embed": torch.arange(6.0) + 1e-4,
        "rope.cos": torch.arange(3.0).cos(),
        "track_head.a": torch.zeros(2),
        "track_head.b": torch.zeros(2),
    }


def test_every_tensor_of_the_file_is_loaded_or_explained() -> None:
    network, state = Toy(), published()
    report = load_published(network, state)
    assert torch.equal(network.cls_token, state["vit.cls"] + state["vit.pos"][:, :1])
    assert torch.equal(network.patch_positions, state["vit.pos"][:, 1:])
    assert torch.equal(network.proj.weight, state["out.w"][:, :, 0, 0])
    assert torch.equal(network.proj.bias, state["out.b"])
    assert torch.equal(network.labels.weight, state["labels.weight"])
    assert torch.equal(network.pos_embed, torch.arange(6.0))
    assert torch.equal(network.rope.get_buffer("cos"), torch.arange(3.0).cos())
    assert report.loaded == ["vit.cls", "vit.pos", "out.w", "out.b", "labels.weight"]
    assert report.computed == ["pos_embed", "rope.cos"]
    assert set(report.dropped) == {"track_head.a", "track_head.b"}
    assert set(report.renamed) == {
        ("vit.cls", "cls_token"),
        ("vit.pos", "cls_token"),
        ("vit.pos", "patch_positions"),
        ("out.w", "proj.weight"),
        ("out.b", "proj.bias"),
    }
    assert str(report).splitlines() == [
        "5 tensors loaded, 4 of them under another name",
        "2 computed by the network, as in the file: pos_embed, rope.cos",
        "2 dropped: tracking is not part of this network",
    ]


def test_values_are_cast_to_the_networks_dtype() -> None:
    network, state = Toy().to(torch.bfloat16), published()
    load_published(network, state)
    assert network.proj.bias.dtype == torch.bfloat16
    assert torch.equal(network.proj.bias, state["out.b"].bfloat16())
    # Folded in the file's precision, rounded once.
    assert torch.equal(network.cls_token, (state["vit.cls"] + state["vit.pos"][:, :1]).bfloat16())


def test_what_is_written_in_the_published_naming_loads_bit_equal() -> None:
    torch.manual_seed(1)
    first, second = Toy(), Toy()
    written = to_published(first)
    assert written.keys() == {name for name in published() if not name.startswith("track_head")}
    assert all(written[name].shape == tensor.shape for name, tensor in published().items() if name in written)
    load_published(second, written)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


@pytest.mark.parametrize("key", ["ema", "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_nesting_and_prefixes_are_undone(key: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in published().items()}
    network = Toy()
    load_published(network, {key: state, "epoch": 3})
    assert torch.equal(network.proj.bias, published()["out.b"])


def test_the_weight_average_is_preferred() -> None:
    network, average = Toy(), published()
    raw = average | {"out.b": average["out.b"] + 1}
    load_published(network, {"model": raw, "ema": average})
    assert torch.equal(network.proj.bias, average["out.b"])
    load_published(network, {"model": raw, "ema": None})
    assert torch.equal(network.proj.bias, raw["out.b"])


def test_a_label_table_of_another_size_keeps_its_start_values() -> None:
    network = Toy(classes=3)
    before = network.labels.weight.detach().clone()
    report = load_published(network, published(classes=5))
    assert report.restarted == [ShapePair("labels.weight", (5, WIDTH), (3, WIDTH))]
    assert torch.equal(network.labels.weight, before)
    assert "starts from new values: labels.weight (5×4 in the file, 3×4 in the network)" in str(report)
    assert not ShapePair("labels.weight", (), (3,)).differs_in_first_size_only()
    with pytest.raises(InputError, match=r"labels.weight"):
        load_published(network, published() | {"labels.weight": torch.zeros(3, WIDTH + 1)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vit.pos": torch.zeros(1, 7, WIDTH)}, r"1 of another shape: vit.pos \(1×7×4 in the file, 1×6×4 in"),
        ({"vit.pos": torch.zeros(1, 6, WIDTH + 1)}, r"of another shape: vit.pos"),
        ({"out.w": torch.zeros(6, WIDTH)}, r"of another shape: out.w"),
        ({"out.w": torch.zeros(6, WIDTH, 3, 3)}, r"of another shape: out.w"),
        ({"out.b": None}, r"1 missing: out.b"),
        ({"vit.cls": None, "out.b": None}, r"2 missing: vit.cls, out.b"),
        ({"other": torch.zeros(1)}, r"1 unexpected: other"),
        ({f"x{i:02}": torch.zeros(1) for i in range(20)}, r"20 unexpected: x00, .*x07 … and 12 more"),
        # It holds pos_embed, so it is complete: the network it comes from had no rotary embedding.
        ({"rope.cos": None}, r"1 missing: rope.cos"),
        ({"pos_embed": torch.zeros(7)}, r"1 of another shape: pos_embed \(7 in the file, 6 in the network"),
        ({"pos_embed": torch.arange(6.0).flip(0)}, r"computes: pos_embed \(by up to 5; its largest value is 5\)"),
        ({"pos_embed": torch.arange(6.0) * 1.002}, r"computes: pos_embed \(by up to 0.01;"),
        ({"rope.cos": torch.full((3,), torch.nan)}, r"computes: rope.cos \(by up to nan"),
    ],
)
def test_an_unexplained_difference_is_refused_and_nothing_is_loaded(
    change: dict[str, torch.Tensor | None], words: str
) -> None:
    state = {name: tensor for name, tensor in (published() | change).items() if tensor is not None}
    network = Toy()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=words):
        load_published(network, state)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_tables_that_this_network_does_not_compute_are_unexpected() -> None:
    with pytest.raises(InputError, match=r"1 unexpected: rope.cos"):
        load_published(Toy(rope=False), published())


def test_tables_of_a_file_are_taken_on_request() -> None:
    network, state = Toy(), published() | {"pos_embed": torch.arange(6.0).flip(0)}
    with pytest.raises(InputError, match=r"tables_from_file=True\) uses the file's tables"):
        load_published(network, state)
    report = load_published(network, state, tables_from_file=True)
    assert torch.equal(network.pos_embed, torch.arange(6.0).flip(0))
    assert report.tables_from_file == ["pos_embed"]
    assert report.computed == ["rope.cos"]
    assert "1 taken from the file, not computed: pos_embed" in str(report)


def test_a_table_that_would_be_lost_in_checkpoints_is_not_taken() -> None:
    network, state = Toy(), published() | {"rope.cos": torch.zeros(3)}
    before = network.pos_embed.clone()
    with pytest.raises(InputError, match=r"1 with values other .*: rope.cos") as fault:
        load_published(network, state | {"pos_embed": torch.zeros(6)}, tables_from_file=True)
    assert "tables_from_file" not in str(fault.value)
    assert torch.equal(network.pos_embed, before)


def test_tables_rounded_to_half_precision_are_accepted() -> None:
    state = published() | {"rope.cos": torch.arange(3.0).cos().bfloat16()}
    assert load_published(Toy(), state).computed == ["pos_embed", "rope.cos"]


def test_tables_that_went_through_the_weight_average_are_accepted() -> None:
    """The published training code averages fixed tables along with the weights."""
    table = torch.arange(3.0).cos()
    average = table.clone()
    for _ in range(20_000):
        average.mul_(0.9999).add_(table, alpha=1 - 0.9999)
    assert 1e-5 < (average - table).abs().max() < 5e-4
    assert "rope.cos" in load_published(Toy(), published() | {"rope.cos": average}).computed


def test_a_file_refused_by_the_caller_leaves_the_network_unchanged() -> None:
    def refuse(report: LoadReport) -> None:
        raise InputError("file", f"drops {len(report.dropped)}", "Choose another.")

    network = Toy()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match="drops 2"):
        load_published(network, published(), check=refuse)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_file_may_leave_all_computed_tensors_out() -> None:
    state = {name: tensor for name, tensor in published().items() if name not in ("pos_embed", "rope.cos")}
    report = load_published(Toy(), state)
    assert set(report.left_to_compute) == {"pos_embed", "rope.cos"}


def test_a_tensor_the_network_declares_nowhere_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Toy()
    network.forgotten = nn.Parameter(torch.zeros(2))
    entries = [entry for entry in network.published_tensors() if entry.ours != "forgotten"]
    monkeypatch.setattr(network, "published_tensors", lambda: entries)
    with pytest.raises(InputError, match="1 missing: forgotten"):
        load_published(network, published())


def test_meta_network_and_meta_state_dict_compare_names_and_shapes() -> None:
    with torch.device("meta"):
        network = Toy()
    state = {name: tensor.to("meta") for name, tensor in published().items()}
    report = load_published(network, state)
    assert len(report.loaded) == 5
    assert report.not_compared == ["pos_embed", "rope.cos"]
    with pytest.raises(InputError, match=r"of another shape: out.b"):
        load_published(network, state | {"out.b": torch.zeros(7, device="meta")})


def test_a_meta_network_takes_real_tensors_as_its_own() -> None:
    with torch.device("meta"):
        network = Toy().requires_grad_(False)
    state = published()
    load_published(network, state)
    assert torch.equal(network.proj.bias, state["out.b"])
    assert isinstance(network.proj.bias, nn.Parameter)
    assert not network.proj.bias.requires_grad
    state["out.b"].zero_()
    assert network.proj.bias.abs().sum() > 0


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors"])
def test_files_of_each_kind_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"toy{suffix}"
    if suffix == ".safetensors":
        save_file(published(), path)
    else:
        torch.save({"ema": published(), "args": argparse.Namespace(lr=1e-4), "epoch": 3}, path)
    network = Toy()
    load_published(network, path)
    assert torch.equal(network.proj.bias, published()["out.b"])


def test_files_from_before_zip_archives_are_read(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "old.pt").keys() == published().keys()


class Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "the code ran"
    torch.save(
        {"model": published(), "args": Malicious(mark)},
        tmp_path / "evil.pt",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(InputError, match=r"evil.pt: holds a Python object \(\w+\.mkdir\).*safetensors"):
        load_published(Toy(), tmp_path / "evil.pt")
    assert not mark.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)  # the trap is real
    assert mark.exists()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:-200])
    (tmp_path / "garbage.ckpt").write_bytes(b"garbage" * 50)
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "garbage.safetensors").write_bytes(b"garbage" * 50)
    for name in ("cut.pt", "garbage.ckpt", "empty.pth", "garbage.safetensors"):
        with pytest.raises(InputError, match=rf"{name}: is damaged or not a checkpoint"):
            read_state_dict(tmp_path / name)
    with pytest.raises(InputError, match=r"none.pt: no such file"):
        read_state_dict(tmp_path / "none.pt")
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"weights.bin: '.bin' is not a checkpoint's suffix"):
        read_state_dict(tmp_path / "weights.bin")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds a list, not a state dict"),
        ({}, "holds an empty state dict"),
        ({"epoch": 3}, "does not hold a state dict: 'epoch' is a int"),
        ({"model": {"a": torch.zeros(1), "b": "text"}}, "does not hold a state dict: 'b' is a str"),
        ({1: torch.zeros(1)}, "does not hold a state dict: 1 is a Tensor"),
    ],
)
def test_anything_but_a_state_dict_is_refused(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(InputError, match=words):
        load_published(Toy(), tmp_path / "file.pt")


def changed(name: str, make: Any) -> dict[str, Any]:
    state: dict[str, Any] = published()
    return state | {name: make(state[name])}


UNUSABLE: dict[str, Any] = {
    "has NaN": lambda tensor: tensor.index_fill(0, torch.tensor([0]), float("nan")),
    "has infinite values": lambda tensor: tensor.index_fill(0, torch.tensor([0]), float("inf")),
    "bool, not float32": lambda tensor: tensor > 0,
    "int8, not float32": lambda tensor: tensor.to(torch.int8),
    "int64, not float32": lambda tensor: tensor.to(torch.int64),
    "complex64, not float32": lambda tensor: tensor.to(torch.complex64),
    "sparse": lambda tensor: tensor.to_sparse(),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore:.*quantize.*", "ignore:.*TypedStorage.*")
@pytest.mark.parametrize("fault", UNUSABLE)
@pytest.mark.parametrize("name", ["out.b", "labels.weight", "pos_embed", "rope.cos"])
@pytest.mark.parametrize("tables_from_file", [False, True])
def test_all_or_nothing(name: str, fault: str, tables_from_file: bool) -> None:
    """The faulty tensor is the last one read in some cases; the network is unchanged in all."""
    network = Toy()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=rf"{name} \((by up to nan|by up to inf|{fault})"):
        load_published(network, changed(name, UNUSABLE[fault]), tables_from_file=tables_from_file)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_floating_point_types_are_cast() -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        state = {name: tensor.to(dtype) for name, tensor in published().items()}
        load_published(Toy(), state)


def test_dropped_tensors_may_be_anything() -> None:
    report = load_published(Toy(), published() | {"track_head.a": torch.tensor([True])})
    assert "track_head.a" in report.dropped


@pytest.mark.parametrize("change", [{"num_heads": 2}, {"input_size": 8}, {"input_size": 8, "patch_size": 2}])
def test_other_heads_and_grids_are_refused(change: dict[str, Any]) -> None:
    """Weights have the same shapes with four heads and with two; the rotary tables differ."""
    config = LightningDiTConfig(input_size=4, in_channels=4, hidden_size=32, depth=1, num_heads=4, num_classes=3)
    state, other = to_published(LightningDiT(config)), LightningDiT(replace(config, **change))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(InputError, match="of another shape|with values other than"):
        load_published(other, state)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_other_heads_are_refused_by_the_norms_of_queries() -> None:
    state = to_published(VGGT(PRESETS["tiny"]))
    with pytest.raises(InputError, match=r"of another shape: .*norm"):
        load_published(VGGT(replace(PRESETS["tiny"], num_heads=6)), state)


def test_a_file_on_the_hub_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, source, target = HubCache(tmp_path / "hub", monkeypatch), Toy(), Toy()
    save_file({name: value.contiguous() for name, value in to_published(source).items()}, tmp_path / "toy.safetensors")
    cache.add("owner/toy", "toy.safetensors", (tmp_path / "toy.safetensors").read_bytes())
    load_published(target, "hf://owner/toy/toy.safetensors")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())
    with pytest.raises(InputError, match=r"hf://owner/toy/other\.pt: is not in the cache"):
        load_published(target, "hf://owner/toy/other.pt")


def test_a_pickle_on_the_hub_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HubCache(tmp_path / "hub", monkeypatch)
    torch.save({"model": {"a": torch.zeros(1)}, "other": Path("/")}, tmp_path / "evil.pt")
    cache.add("owner/evil", "evil.pt", (tmp_path / "evil.pt").read_bytes())
    with pytest.raises(InputError, match="holds a Python object"):
        read_state_dict("hf://owner/evil/evil.pt")
