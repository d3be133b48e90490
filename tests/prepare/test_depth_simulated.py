"""From nothing to weights with a card, and the measures on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import networks.shipped_weights
from cli import main
from formats.exr import read_depth
from formats.images import write_png
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from networks.config import config_from
from networks.shipped_weights import REQUIRED, load_shipped, save_shipped
from networks.vggt import PRESETS, VGGT, VGGTConfig
from prepare.depth_measures import fit_baselines
from prepare.depth_simulated import BARS, curve, judged
from simulators.scenes.pairs import TEST, scene_pair
from tests.support.batches import pair_batch
from tests.support.commands import ROOT


def test_bars_are_upper_or_lower_limits() -> None:
    good = {"abs_rel_scaled": 0.12, "delta_1.25_scaled": 0.85, "rotation_accuracy_15": 0.8, "auc_30": 0.5}
    assert all(judged(good).values())
    assert not any(judged({name: value + (0.01 if BARS[name][1] else -0.01) for name, value in good.items()}).values())


def test_the_curve_joins_the_parts_of_a_run(tmp_path: Path) -> None:
    names = ["abs_rel_scaled", "delta_1.25_scaled", "rotation_accuracy_15", "auc_30", "rotation_error"]
    header = ",".join(["step", *(f"val/{name}" for name in names)])
    for version, steps in ((0, (99, 199)), (1, (199, 299)), (2, (399,))):
        (tmp_path / f"version_{version}").mkdir()
        rows = [f"{step},{version + 0.5},0,0,0,0" for step in steps]
        (tmp_path / f"version_{version}" / "metrics.csv").write_text("\n".join([header, "5,,,,,", *rows]))
    points = curve(tmp_path / "version_1")
    assert [(point["step"], point["abs_rel_scaled"]) for point in points] == [(100, 0.5), (200, 1.5), (300, 1.5)]


def test_baselines_are_those_of_the_training_pairs() -> None:
    batch = pair_batch()
    mean_map, pose, intrinsics = fit_baselines([batch])
    assert mean_map.shape == batch["depths"].shape[1:]
    assert torch.allclose(pose[0], torch.eye(3, 4), atol=1e-5)
    assert torch.allclose(pose[1, :, :3] @ pose[1, :, :3].T, torch.eye(3), atol=1e-5)
    assert torch.det(pose[1, :, :3]) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(intrinsics, batch["intrinsics"].mean(0))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of the small preset, not trained, as if they were part of the repository."""
    card = {
        **dict.fromkeys(REQUIRED, "depth and cameras"),
        "data": "simulated scenes",
        "network": asdict(PRESETS["small"]),
        "settings": {"data": {"init_args": {"image_size": 112}}},
        "mean_confidence_quantiles": torch.linspace(0, 10, 21).tolist(),
    }
    monkeypatch.setattr(networks.shipped_weights, "FOLDER", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    save_shipped("depth_simulated", VGGT(PRESETS["small"]).state_dict(), card)


@pytest.mark.usefixtures("weights")
def test_shipped_network_is_the_small_preset_and_predicts() -> None:
    module = PairDepthCameraModule.from_pretrained("depth_simulated")
    assert module.shipped is not None
    assert config_from(VGGTConfig, load_shipped("depth_simulated").card["network"]).depth == PRESETS["small"].depth
    scene = module.predict_scene(torch.rand(1, 2, 3, 84, 112))
    assert scene["depth"].shape == (1, 2, 84, 112)
    assert (scene["depth"] > 0).all()


@pytest.mark.slow
def test_weights_are_made_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "pipeline",
            "depth-simulated",
            f"--output_dir={tmp_path}/run",
            f"--data_dir={tmp_path}/data",
            f"--weights_dir={tmp_path}/weights",
            "--max_steps=2",
            "--num_train=8",
            "--num_test=2",
        ]
    )
    assert "NOT reached" in capsys.readouterr().out
    weights = load_shipped("depth_simulated", tmp_path / "weights")
    assert weights.card["steps"] == 2
    assert weights.card["measures"]["pairs"] == 2
    assert (tmp_path / "weights" / "depth_simulated.safetensors").stat().st_size < 20e6


@pytest.mark.usefixtures("weights")
@pytest.mark.slow
def test_a_prediction_without_a_checkpoint_uses_the_shipped_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{view}.png" for view in ("first", "second")]
    for path, image in zip(paths, scene_pair(0, TEST, 3).images, strict=True):
        write_png(path, image)
    config = ROOT / "configs" / "predict_pair.yaml"
    words = [f"--config={config}", f"--data.images=[{paths[0]},{paths[1]}]", f"--data.output_dir={tmp_path}/out"]
    main(["predict", *words, "--trainer.accelerator=cpu"])
    out = capsys.readouterr().out
    assert "using weights 'depth_simulated' from the repository: depth and cameras" in out
    assert "trained on simulated scenes alone" in out
    (scene,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    report = json.loads((scene / "confidence.json").read_text())
    assert report["weights"] == "depth_simulated"
    assert 0 < report["test_scenes_below"] < 1
    assert read_depth(scene / "first.png_depth.exr").shape == (84, 112)
