"""The pair task through the command line: prepare, train, judge, predict."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
import trimesh
import yaml
from numpy.testing import assert_allclose
from torch.testing import assert_close

from cli import main
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb, write_png
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command

CONFIGS = ROOT / "configs"
SMALL_NETWORK = CONFIGS / "overlays" / "tiny_pair.yaml"


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated city: two scenes to train on and one held out."""
    folder = tmp_path_factory.mktemp("city") / "data"
    sizes = ["--num_scenes=3", "--val_scenes=1", "--pairs_per_scene=1", "--width=112", "--height=84"]
    main(["prepare", "aerial-city-sample", f"--out={folder}", *sizes])
    return folder


@pytest.fixture(scope="session")
def single(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one pair."""
    folder = tmp_path_factory.mktemp("single")
    words = [f"--source_root={city}", f"--output_root={folder}", "--pair_index", "1", "--create_config"]
    main(["prepare", "single-pair", *words])
    return folder


def words(config: str, data: Path, *more: str, command: str = "fit") -> list[str]:
    """Return a command with the small network and small images."""
    return [
        command,
        f"--config={CONFIGS / config}",
        f"--config={SMALL_NETWORK}",
        f"--data.data_dir={data}",
        f"--data.segmentation_dir={data}/seg",
        "--data.image_size=56",
        "--trainer.enable_model_summary=false",
        *more,
    ]


def last_checkpoint(folder: Path, name: str = "pair_aerialmd", version: int = 0) -> Path:
    return folder / "runs" / name / f"version_{version}" / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def trained(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after one epoch."""
    folder, before = tmp_path_factory.mktemp("pair"), Path.cwd()
    os.environ["WANDB_MODE"] = "disabled"
    os.chdir(folder)
    try:
        main(words("pair_aerialmd.yaml", city, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"))
    finally:
        os.chdir(before)
    return last_checkpoint(folder)


@pytest.fixture(scope="session")
def published(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network as a published file."""
    path = tmp_path_factory.mktemp("published") / "vggt.pt"
    torch.save(to_published(PairDepthCameraModule.load_from_checkpoint(trained).network), path)
    return path


@pytest.mark.parametrize("overlay_first", [True, False])
def test_the_written_configuration_composes_with_the_small_network_in_either_order(
    single: Path, overlay_first: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--config=overlays/tiny_pair.yaml", f"--config={single}/single_pair.yaml"]
    with pytest.raises(SystemExit):
        main(["fit", *(files if overlay_first else files[::-1]), "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["trainer"]["max_epochs"], config["data"]["init_args"]["image_size"]) == (1500, 112)
    model = config["model"]["init_args"]
    assert (model["learning_rate"], model["network"]["embed_dim"]) == (1e-3, 192)
    assert config["data"]["init_args"]["data_dir"] == str(single)


def test_the_written_configuration_is_complete(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (single / "train.npz").read_bytes() == (single / "val.npz").read_bytes()
    with pytest.raises(SystemExit):
        main(["fit", "--config", f"{single}/single_pair.yaml", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["trainer"]["max_epochs"], config["model"]["init_args"]["learning_rate"]) == (100, 1e-4)
    main(["prepare", "check-pairs", "--config", f"{single}/single_pair.yaml"])
    assert "batch: images [1, 2, 3, 392, 518], depths [1, 2, 392, 518]" in capsys.readouterr().out


def test_a_missing_data_set_names_the_option() -> None:
    with pytest.raises(InputError, match=r"^--source_root: training/dataset_aerialmd/cropped is not a folder"):
        main(["prepare", "single-pair", "--create_config"])


def test_pair_index_out_of_range_names_the_range(city: Path, tmp_path: Path) -> None:
    arguments = [f"--source_root={city}", f"--source_seg_root={city}/seg", f"--source_npz={city}/train.npz"]
    with pytest.raises(InputError, match=r"9 is out of range.*0 to 1"):
        main(["prepare", "single-pair", *arguments, f"--output_root={tmp_path}", "--pair_index=9"])


def test_training_logs_every_term_norms_and_images(trained: Path) -> None:
    run = trained.parents[1]
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    terms = ["objective", "camera", "T", "R", "FL", "conf_depth", "reg_depth", "grad_depth"]
    for stage in ("train", "val"):
        assert {f"{stage}/loss_{term}" for term in terms} <= set(header)
    assert {f"grad_norm/{part}" for part in ("aggregator", "camera_head", "depth_head")} <= set(header)
    assert {"val/abs_rel", "val/delta_1.25_scaled", "val/auc_30", "val/rotation_accuracy_5", "val/focal_error"} <= set(
        header
    )
    assert {path.name.split("_")[0] for path in (run / "images").iterdir()} == {"depth", "cameras"}


@pytest.mark.slow
def test_overfit_test_reports_and_judges(single: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs are not enough, and the report says so."""
    files = [f"--config={SMALL_NETWORK}", f"--config={single}/single_pair.yaml"]
    main(["fit", *files, "--data.image_size=56", "--trainer.max_epochs=2", "--trainer.enable_model_summary=false"])
    out = capsys.readouterr().out
    assert "first training batch:\n  images" in out
    verdict = next(line for line in out.splitlines() if line.startswith(("PASS", "FAIL")))
    assert verdict.startswith("FAIL")
    assert "absolute relative error" in verdict
    runs = tmp_path / "runs" / "pair_single_overfit"
    assert len(list((runs / "tensorboard" / "version_0").glob("events.out.tfevents*"))) == 1
    folder = runs / "version_0" / "report"
    text = (folder / "report.md").read_text()
    assert verdict in text
    assert "| configuration | `runs/pair_single_overfit/version_0/config.yaml` |" in text
    linked = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(linked) == 6  # losses, metrics, gradients, depth, point cloud, cameras
    assert all((folder / name).is_file() for name in linked)
    assert (folder / "report.html").read_text().count("data:image/png;base64,") == 6


@pytest.mark.slow
def test_frozen_parts_do_not_train(city: Path, published: Path, tmp_path: Path) -> None:
    start = [f"--model.published_checkpoint={published}", "--model.frozen=[aggregator.*]", "--trainer.max_epochs=1"]
    main(words("pair_aerialmd.yaml", city, *start))
    before, after = torch.load(published, weights_only=True), load_checkpoint(last_checkpoint(tmp_path))["state_dict"]
    frozen = [name for name in before if name.startswith("aggregator.") and f"network.{name}" in after]
    trained = [name for name in before if name.startswith(("camera_head.", "depth_head.")) and name.endswith("weight")]
    assert len(frozen) > 50
    assert all(torch.equal(before[name], after[f"network.{name}"]) for name in frozen if "pos_embed" not in name)
    assert not any(torch.equal(before[name], after[f"network.{name}"]) for name in trained)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.frozen=[agregator]", "'agregator' matches no parameter"),
        ("--model.frozen=['*']", "leaves nothing to train"),
        ("--trainer.gradient_clip_val=0.5", r"gradient_clip_val: is not used.*Set --model\.clip_norm instead"),
        ("--model.network.enable_depth=false", "--model.network: this task needs the camera head and the depth head"),
    ],
)
def test_settings_that_cannot_work_are_refused(city: Path, option: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        main(words("pair_aerialmd.yaml", city, option))


@pytest.mark.slow
def test_single_settings_of_the_network_can_be_changed(city: Path, tmp_path: Path) -> None:
    options = ["--model.network.enable_point=true", "--model.network.dpt_features=32", "--trainer.max_epochs=1"]
    main(words("pair_aerialmd.yaml", city, *options, "--trainer.limit_train_batches=1"))
    checkpoint = load_checkpoint(last_checkpoint(tmp_path))
    assert any(name.startswith("network.point_head.") for name in checkpoint["state_dict"])
    network = checkpoint["hyper_parameters"]["network"]
    assert (network["enable_point"], network["dpt_features"], network["embed_dim"]) == (True, 32, 192)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_training_ends_with_the_same_weights(
    city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Interrupted in the middle of the second of three epochs, with augmentation, in this process and in workers."""

    def train(folder: str, *more: str) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        main(words("pair_aerialmd.yaml", city, f"--data.num_workers={workers}", "--trainer.max_epochs=3", *more))

    train("whole")
    cut = interrupted(lambda *more: train("part", *more), 3)
    train("part", f"--ckpt_path={cut}")
    first = load_checkpoint(last_checkpoint(tmp_path / "whole"))
    second = load_checkpoint(last_checkpoint(tmp_path / "part", version=1))
    assert first["global_step"] == second["global_step"] == 6
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name


@pytest.mark.slow
def test_published_weights_start_training_and_come_back(city: Path, published: Path, tmp_path: Path) -> None:
    more = [f"--model.published_checkpoint={published}", "--model.learning_rate=0", "--trainer.max_epochs=1"]
    main(words("pair_aerialmd.yaml", city, *more))
    module = PairDepthCameraModule.load_from_checkpoint(last_checkpoint(tmp_path))
    written = to_published(module.network)
    for name, tensor in torch.load(published, weights_only=True).items():
        assert_close(written[name], tensor)


def predict_words(trained: Path, out: Path, images: Path | str) -> list[str]:
    """Return a command that predicts from images."""
    return [
        "predict",
        f"--config={CONFIGS / 'predict_pair.yaml'}",
        f"--ckpt_path={trained}",
        f"--data.images={images}",
        "--data.image_size=56",
        f"--data.output_dir={out}",
        "--trainer.accelerator=cpu",
    ]


def test_predictions_open_in_other_programs(city: Path, trained: Path, tmp_path: Path) -> None:
    images = sorted(path for path in city.glob("*/*_aerial.jpeg.jpg"))[:2]
    main([*predict_words(trained, tmp_path / "out", f"[{images[0]}, {images[1]}]"), "--trainer.devices=1"])
    (scene,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    names = [f"{path.parent.name}_{path.name}" for path in images]  # the two files have the same name
    cameras = json.loads((scene / "cameras.json").read_text())
    assert len(cameras["cameras"]) == 2
    for name in names:
        depth = read_depth(scene / f"{name}_depth.exr")
        assert depth.shape == read_rgb(scene / f"{name}_depth.png").shape[:2] == (42, 56)
        assert (depth > 0).all()
    points = trimesh.load(scene / "points.ply")
    assert isinstance(points, trimesh.PointCloud)
    assert len(points.vertices) > 0.7 * 2 * 42 * 56
    assert len(trimesh.load_scene(scene / "points.glb").geometry) == 1
    model = pycolmap.Reconstruction(scene / "colmap")
    assert model.num_reg_images() == 2
    for camera in cameras["cameras"]:
        image = next(image for image in model.images.values() if image.name == camera["name"])
        assert np.allclose(image.cam_from_world().matrix(), camera["extrinsics"], atol=1e-5)
        intrinsics = np.array(camera["intrinsics"])
        intrinsics[:2, 2] += 0.5  # COLMAP's pixels have their centres at halves
        assert np.allclose(model.cameras[image.camera_id].calibration_matrix(), intrinsics, atol=1e-3)


@pytest.mark.slow
def test_two_processes_predict_what_one_predicts(city: Path, trained: Path, tmp_path: Path) -> None:
    """Up to rounding, as processes may compute with different numbers of threads."""
    for name, devices in (("one", ["--trainer.devices=1"]), ("two", ["--trainer.devices=2", "--trainer.strategy=ddp"])):
        done = run_command(
            "predict",
            f"--config={CONFIGS / 'predict_pair.yaml'}",
            f"--ckpt_path={trained}",
            "--data=AerialMegaDepthDataModule",
            f"--data.data_dir={city}",
            "--data.val_split=train.npz",
            "--data.image_size=56",
            "--data.num_workers=0",
            f"--data.output_dir={tmp_path / name}",
            "--trainer.accelerator=cpu",
            *devices,
        )
        assert done.returncode == 0, done.stderr
    files = {
        name: sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.exr"))
        for name in ("one", "two")
    }
    assert files["one"] == files["two"]
    assert len(files["one"]) == 2 * 2
    for file in files["one"]:
        one, two = (read_depth(tmp_path / name / file) for name in ("one", "two"))
        assert_allclose(two, one, rtol=1e-4)
        assert one.std() > 0


def test_a_broken_file_stops_training_by_name(city: Path, tmp_path: Path) -> None:
    shutil.copytree(city, tmp_path / "broken")
    (victim,) = list((tmp_path / "broken" / "0001").glob("*_aerial.jpeg.exr"))[:1]
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(InputError, match=victim.name):
        main(words("pair_aerialmd.yaml", tmp_path / "broken", "--trainer.max_epochs=1"))


@pytest.mark.slow
def test_missing_data_errors_explain_how_to_get_some() -> None:
    with pytest.raises(InputError, match=r"train\.npz: no such file"):
        main(["fit", f"--config={CONFIGS / 'pair_aerialmd.yaml'}"])


@pytest.mark.slow
def test_random_weights_are_refused_and_published_ones_predict(trained: Path, published: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "a.png", np.full((60, 80, 3), 128, np.uint8))
    without = [
        word for word in predict_words(trained, tmp_path / "out", tmp_path / "images") if "ckpt_path" not in word
    ]
    without += [f"--config={SMALL_NETWORK}", "--trainer.devices=1", "--data.image_size=56"]
    with pytest.raises(InputError, match="random weights"):
        main(without)
    main([*without, f"--model.published_checkpoint={published}"])
    assert len(list((tmp_path / "out").rglob("*_depth.exr"))) == 1


@pytest.mark.slow
def test_images_of_another_kind_are_predicted_from_a_folder(trained: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_png(tmp_path / "images" / f"{name}.png", np.full((60, 80, 3), 128, np.uint8))
    main([*predict_words(trained, tmp_path / "out", tmp_path / "images"), "--trainer.devices=1"])
    (scene,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert {path.name for path in scene.glob("*.exr")} == {"a.png_depth.exr", "b.png_depth.exr"}
