"""Training with weights divided among processes (FSDP): save, open in one process, export as published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from lightning_modules.layer_index import LayerIndexModule
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from networks.checkpoints import load_published, to_published
from tests.support.aerial_scene import write_scene
from tests.support.commands import ROOT, load_checkpoint, run_command
from tests.support.tiny_tasks import write_art

CONFIGS = ROOT / "configs"
COMMON = [
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    "--trainer.devices=2",
    "--trainer.max_steps=2",
    "--trainer.limit_val_batches=1",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_model_summary=false",
    "--trainer.logger=false",
    "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {filename: last, dirpath: checkpoints}}]",
    "--data.num_workers=0",
]


def words(task: str, folder: Path, *more: str) -> list[str]:
    """Return the command that trains a tiny network of a task."""
    if task == "pair":
        data = write_scene(folder / "data")
        size = [f"--data.segmentation_dir={data}/seg", "--data.image_size=56", "--data.aspect=0.75"]
        files = ["pair_aerialmd.yaml", "overlays/tiny_pair.yaml"]
    else:
        data = write_art(folder / "data")
        size = ["--data.val_data_dir=null", "--data.image_size=128", "--data.val_share=0.3", "--data.batch_size=2"]
        size += ["--model.network.window=32", "--model.network.depth=2", "--model.network.hook_blocks=[0, 1]"]
        files = ["layer_index.yaml", "overlays/tiny_layers.yaml"]
    configs = [f"--config={CONFIGS / name}" for name in files]
    return ["fit", *configs, f"--data.data_dir={data}", *size, *COMMON, *more]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pair", "layers"])
def test_sharded_training_saves_whole_weights(task: str, tmp_path: Path) -> None:
    """Two steps with sharded weights end where two steps with copies of all weights end."""
    weights = {}
    for overlay in ("fsdp", "ddp"):
        folder = tmp_path / overlay
        folder.mkdir()
        strategy = f"--config={CONFIGS / 'overlays' / overlay}.yaml"
        done = run_command(*words(task, folder, strategy, *COMMON), cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        weights[overlay] = load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]
    for name, tensor in weights["ddp"].items():
        assert_close(weights["fsdp"][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    kind = PairDepthCameraModule if task == "pair" else LayerIndexModule
    module = kind.load_from_checkpoint(tmp_path / "fsdp" / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(to_published(module.network), tmp_path / "published.pt")
    report = load_published(module.network, tmp_path / "published.pt")
    assert not report.mismatched
