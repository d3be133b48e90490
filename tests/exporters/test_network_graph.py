"""Networks as ONNX and torch.export files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters.network_graph import (
    NetworkGraph,
    decoder_graph,
    graph_errors,
    layer_index_graph,
    onnx_runner,
    pt2_runner,
    scene_graph,
    velocity_graph,
    write_graph,
)
from formats.errors import InputError
from networks.depth_pro import DepthProConfig, LayerIndexNet
from networks.lightning_dit import LightningDiT, LightningDiTConfig
from networks.tokenizers import VAVAE
from networks.vggt import VGGT, VGGTConfig
from tests.support.tiny_tasks import VGGT_SIZES


def velocity() -> NetworkGraph:
    config = LightningDiTConfig(
        input_size=2, input_width=4, in_channels=8, hidden_size=32, depth=1, num_heads=2, num_classes=3
    )
    return velocity_graph(filled(LightningDiT(config)))


def scene() -> NetworkGraph:
    return scene_graph(VGGT(VGGTConfig(**VGGT_SIZES)), 28, 42)  # type: ignore[arg-type]


def layer_index() -> NetworkGraph:
    config = DepthProConfig("vit_small_patch14_dinov2", 32, 2, 2, (0, 1), (8, 8, 8, 8), 8, 32, 1.0)
    return layer_index_graph(LayerIndexNet(config))


def decoder() -> NetworkGraph:
    return decoder_graph(VAVAE(32, (1, 1, 2), 4), 32, 48)


GRAPHS: list[Callable[[], NetworkGraph]] = [velocity, scene, layer_index, decoder]


def filled(network: LightningDiT) -> LightningDiT:
    """Replace the zeros that a new network ends in, which would make its output zero."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.slow
def test_velocity_as_torch_export(tmp_path: Path) -> None:
    """The file gives the network's numbers, for another batch size than it was traced with too."""
    graph = velocity()
    errors = write_graph(tmp_path / "model.pt2", graph)
    assert errors["velocity"] < 1e-5
    run = pt2_runner(tmp_path / "model.pt2")
    inputs = graph.draw(5, torch.Generator().manual_seed(7))
    (found,) = run(inputs)
    assert found.abs().max() > 0.01
    torch.testing.assert_close(found, graph.module(*inputs.values())[0])
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_other_numbers_are_found() -> None:
    graph = velocity()
    graph.module.eval()

    def run(inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        (velocity,) = graph.module(*inputs.values())
        return [velocity * 1.01]

    assert graph_errors(graph, run)["velocity"] == pytest.approx(0.01, rel=1e-3)
    assert graph_errors(graph, lambda inputs: [torch.zeros(1)])["velocity"] == float("inf")
    assert graph_errors(graph, lambda inputs: [run(inputs)[0] * float("nan")])["velocity"] == float("inf")


@pytest.mark.slow
def test_files_that_differ_are_refused_and_removed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.pt2: its velocity differs .* more than -1\.0e\+00"):
        write_graph(tmp_path / "model.pt2", velocity(), tolerance=-1)
    assert not list(tmp_path.iterdir())


def test_other_suffixes_and_missing_packages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Name a file that ends in \.onnx or \.pt2"):
        write_graph(tmp_path / "model.torchscript", velocity())
    monkeypatch.setattr("exporters.network_graph.ONNX_PACKAGES", ("package_that_is_missing",))
    with pytest.raises(
        InputError, match=r"package_that_is_missing\. Install them with `pip install 'trilight\[export\]'`"
    ):
        write_graph(tmp_path / "model.onnx", velocity())


def test_scenes_need_both_heads() -> None:
    config = VGGTConfig(**{**VGGT_SIZES, "enable_depth": False})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth head are needed"):
        scene_graph(VGGT(config), 28, 28)


@pytest.mark.slow
@pytest.mark.parametrize("make", GRAPHS[1:], ids=lambda make: make.__name__)
def test_networks_as_torch_export(make: Callable[[], NetworkGraph], tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = make()
    errors = write_graph(tmp_path / "model.pt2", graph)
    assert set(errors) == set(graph.outputs)
    assert max(errors.values()) < 1e-4
    graph.module(*graph.draw(graph.batch_size, torch.Generator()).values())  # tracing left the network usable


@pytest.mark.slow
@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_networks_as_onnx(make: Callable[[], NetworkGraph], tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    torch.manual_seed(0)
    graph = make()
    errors = write_graph(tmp_path / "model.onnx", graph)
    assert set(errors) == set(graph.outputs)
    assert max(errors.values()) < 1e-4
    assert len(onnx_runner(tmp_path / "model.onnx")(graph.draw(graph.batch_size, torch.Generator()))) == len(errors)


@pytest.mark.slow
def test_large_weights_go_to_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.setattr("exporters.network_graph.ONE_FILE", 0)
    graph = velocity()
    write_graph(tmp_path / "model.onnx", graph)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert max(graph_errors(graph, onnx_runner(tmp_path / "model.onnx")).values()) < 1e-4
