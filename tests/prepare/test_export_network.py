"""Export of the networks of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cli import main
from exporters.network_graph import NetworkGraph, graph_errors, pt2_runner, velocity_graph
from formats.errors import InputError
from lightning_modules.user_conditioned_dit import UserConditionedDiTModule
from networks.transport import GuidedVelocity, sample
from prepare import export_network as command
from prepare.export_network import export_network
from prepare.trained_module import load_trained
from tests.support.commands import ROOT
from tests.support.documents import python_blocks
from tests.support.tiny_tasks import TASKS, tiny_trainer


def trained(task: str, folder: Path) -> Path:
    module, data = TASKS[task](folder)
    trainer = tiny_trainer(max_steps=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.mark.slow
def test_generator_with_its_users_and_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = trained("microdoppler", tmp_path)
    main(["prepare", "export-network", f"--checkpoint={checkpoint}", f"--out={tmp_path / 'model.pt2'}"])
    assert "velocity: largest difference" in capsys.readouterr().out
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["inputs"]["latents"] == {"shape": ["batch", 8, 4, 4], "type": "float32"}
    assert card["inputs"]["classes"] == {"shape": ["batch"], "type": "int64"}
    assert (card["user_ids"], card["no_label"], len(card["latent_std"])) == ([0, 1, 2], 3, 8)
    graph = velocity_graph(load_trained(UserConditionedDiTModule, checkpoint).require_network().eval())
    assert max(graph_errors(graph, pt2_runner(tmp_path / "model.pt2")).values()) < 1e-5


@pytest.mark.parametrize(("task", "title"), [("pair", "VGGT"), ("layers", "layer index network")])
def test_the_network_is_recognised(task: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {}

    def write(path: Path, graph: NetworkGraph, tolerance: float) -> dict[str, float]:
        shapes.update({name: tuple(value.shape) for name, value in graph.draw(2, torch.Generator()).items()})
        return dict.fromkeys(graph.outputs, 0.0)

    monkeypatch.setattr(command, "write_graph", write)
    checkpoint = trained(task, tmp_path)
    export_network(checkpoint, tmp_path / "model.onnx", height=28, width=42, views=3, batch_size=2)
    assert shapes["images"] == ((2, 3, 3, 28, 42) if task == "pair" else (2, 3, 128, 128))
    assert json.loads((tmp_path / "model.json").read_text())["network"] == title


@pytest.mark.parametrize("network", [{"region_features": 35, "width": 64}, {"depth": 2, "num_heads": 2}, {}])
def test_what_cannot_be_exported_is_refused(network: dict[str, int], tmp_path: Path) -> None:
    settings = {"network": network}
    torch.save({"state_dict": {}, "hyper_parameters": settings}, tmp_path / "regions.ckpt")
    with pytest.raises(InputError, match="is not of a network that can be exported"):
        export_network(tmp_path / "regions.ckpt", tmp_path / "model.onnx")
    with pytest.raises(InputError, match="--views: must be at least 1"):
        export_network(tmp_path / "regions.ckpt", tmp_path / "model.onnx", views=0)
    assert not list(tmp_path.glob("model*"))


@pytest.mark.slow
def test_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for task, name in (("microdoppler", "model"), ("pair", "vggt"), ("layers", "layers")):
        checkpoint = trained(task, tmp_path / task)
        export_network(checkpoint, Path(f"{name}.onnx"), height=28, width=42, tolerance=1e-3)
    generation, pair, layers, torch_file = python_blocks(ROOT / "docs" / "export.md")
    names: dict[str, Any] = {}
    for code in (generation, pair, layers):
        exec(code, names)
    module = load_trained(UserConditionedDiTModule, tmp_path / "microdoppler" / "last.ckpt")
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 8, 4, 4), dtype=np.float32))
    classes, h = torch.tensor([1, 1, 2]), module.hparams
    field = GuidedVelocity(
        module.require_network().eval(), classes, 3, h["guidance_scale"], h["guidance_interval_start"]
    )
    with torch.no_grad():
        latents = module.require_latent_space().denormalise(
            sample(field, noise, "euler", h["num_steps"], h["time_shift"])
        )
    torch.testing.assert_close(torch.from_numpy(names["latents"]), latents, rtol=1e-3, atol=1e-3)
    assert names["depth"].shape == (1, 2, 28, 42)
    assert names["index"].shape == (1, 1, 128, 128)
    export_network(tmp_path / "microdoppler" / "last.ckpt", Path("model.pt2"))
    exec(torch_file, names)
    assert names["module"](noise, torch.zeros(3), classes)[0].shape == noise.shape
