"""The pair task through the command line: prepare, train, judge, predict."""

import json

import numpy as np
import pycolmap
import pytest
import torch
import trimesh
from torch.testing import assert_close

from cli import main
from formats.errors import InputError
from formats.exr import read_depth
from formats.images import read_rgb, write_png
from lightning_modules.pair_depth_camera import PairDepthCameraModule
from networks.checkpoints import to_published
from tests.support.commands import ROOT, interrupted, load_checkpoint, run_command

CONFIGS = ROOT / "configs"


@pytest.fixture(scope="session")
def city(tmp_path_factory):
    """A simulated city: two scenes to train on and one held out."""
    folder = tmp_path_factory.mktemp("city") / "data"
    sizes = ["--num_scenes=3", "--val_scenes=1", "--pairs_per_scene=1", "--width=112", "--height=84"]
    main(["prepare", "aerial-city-sample", f"--out={folder}", *sizes])
    return folder


@pytest.fixture(scope="session")
def single(city, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    words = [f"--source_root={city}", f"--source_seg_root={city}/seg", f"--source_npz={city}/train.npz"]
    main(["prepare", "single-pair", *words, f"--output_root={folder}", "--pair_index", "1", "--create_config"])
    return folder


def words(config, data, *more, command="fit"):
    return [
        command,
        f"--config={CONFIGS / config}",
        f"--config={CONFIGS / 'overlays' / 'tiny_pair.yaml'}",
        f"--data.data_dir={data}",
        f"--data.segmentation_dir={data}/seg",
        "--data.image_size=56",
        "--trainer.enable_model_summary=false",
        *more,
    ]


@pytest.fixture(scope="session")
def trained(city, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    more = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]
    done = run_command(*words("pair_aerialmd.yaml", city, *more), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "pair_aerialmd" / "version_0" / "checkpoints" / "last.ckpt"


def test_prepared_pair_is_a_data_set_and_a_configuration(single):
    assert (single / "single_pair.yaml").is_file()
    assert (single / "train.npz").read_bytes() == (single / "val.npz").read_bytes()
    main(
        words("pair_single_overfit.yaml", single, f"--config={single}/single_pair.yaml", "--trainer.fast_dev_run=true")
    )


def test_pair_index_out_of_range_says_the_range(city, tmp_path):
    arguments = [f"--source_root={city}", f"--source_seg_root={city}/seg", f"--source_npz={city}/train.npz"]
    with pytest.raises(InputError, match=r"9 is out of range.*0 to 1"):
        main(["prepare", "single-pair", *arguments, f"--output_root={tmp_path}", "--pair_index=9"])


def test_training_logs_every_term_norms_and_pictures(trained):
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


def test_overfit_test_reports_and_judges(single, tmp_path, capsys):
    """Two epochs are not enough, and the report says so."""
    main(words("pair_single_overfit.yaml", single, "--trainer.max_epochs=2"))
    out = capsys.readouterr().out
    verdict = next(line for line in out.splitlines() if line.startswith(("PASS", "FAIL")))
    assert verdict.startswith("FAIL")
    assert "absolute relative error" in verdict
    folder = tmp_path / "runs" / "pair_single_overfit" / "version_0" / "report"
    text = (folder / "report.md").read_text()
    assert verdict in text
    assert all((folder / name).is_file() for name in [part.split(")")[0] for part in text.split("](")[1:]])


def test_frozen_parts_do_not_train_and_unknown_patterns_are_refused(city, tmp_path):
    main(words("pair_aerialmd.yaml", city, "--model.frozen=[aggregator.*]", "--trainer.max_epochs=1"))
    torch.manual_seed(0)
    after = load_checkpoint(tmp_path / "runs" / "pair_aerialmd" / "version_0" / "checkpoints" / "last.ckpt")
    heads = [name for name, _ in PairDepthCameraModule(size="tiny").network.named_parameters() if "head" in name]
    assert sum(len(group["params"]) for group in after["optimizer_states"][0]["param_groups"]) == len(heads)
    with pytest.raises(InputError, match="'agregator' matches no parameter"):
        main(words("pair_aerialmd.yaml", city, "--model.frozen=[agregator]"))


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_training_ends_with_the_same_weights(city, tmp_path, monkeypatch, workers):
    """Cut in the middle of the second of three epochs, with augmentation, in this process and in workers."""

    def train(folder, *more):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        main(words("pair_aerialmd.yaml", city, f"--data.num_workers={workers}", "--trainer.max_epochs=3", *more))
        return tmp_path / folder / "runs" / "pair_aerialmd"

    whole = train("whole")
    cut = interrupted(lambda *more: train("part", *more), 3)
    resumed = train("part", f"--ckpt_path={cut}")
    first = load_checkpoint(whole / "version_0" / "checkpoints" / "last.ckpt")
    second = load_checkpoint(resumed / "version_1" / "checkpoints" / "last.ckpt")
    assert first["global_step"] == second["global_step"] == 6
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name


def test_published_weights_start_training_and_come_back(city, trained, tmp_path, capsys):
    module = PairDepthCameraModule.load_from_checkpoint(trained)
    torch.save(to_published(module.network), tmp_path / "vggt.pt")
    more = [f"--model.published_checkpoint={tmp_path}/vggt.pt", "--model.learning_rate=0", "--trainer.max_epochs=1"]
    main(words("pair_aerialmd.yaml", city, *more))
    after = load_checkpoint(tmp_path / "runs" / "pair_aerialmd" / "version_0" / "checkpoints" / "last.ckpt")
    for name, tensor in module.network.state_dict().items():
        assert_close(after["state_dict"][f"network.{name}"], tensor)


def predict_words(trained, out, images):
    return [
        "predict",
        f"--config={CONFIGS / 'predict_pair.yaml'}",
        f"--ckpt_path={trained}",
        f"--data.images={images}",
        "--data.image_size=56",
        f"--data.output_dir={out}",
        "--trainer.accelerator=cpu",
    ]


def test_predictions_open_in_other_programs(city, trained, tmp_path):
    images = sorted(path for path in city.glob("*/*_aerial.jpeg.jpg"))[:2]
    main([*predict_words(trained, tmp_path / "out", f"[{images[0]}, {images[1]}]"), "--trainer.devices=1"])
    (scene,) = (tmp_path / "out").iterdir()
    names = [f"{path.parent.name}_{path.name}" for path in images]  # the two files have the same name
    cameras = json.loads((scene / "cameras.json").read_text())
    assert len(cameras["cameras"]) == 2
    for name in names:
        depth = read_depth(scene / f"{name}_depth.exr")
        assert depth.shape == read_rgb(scene / f"{name}_depth.png").shape[:2] == (42, 56)
        assert (depth > 0).all()
    points = trimesh.load(scene / "points.ply")
    assert len(points.vertices) > 0.7 * 2 * 42 * 56
    assert len(trimesh.load(scene / "points.glb").geometry) == 1
    model = pycolmap.Reconstruction(scene / "colmap")
    assert model.num_reg_images() == 2
    for camera in cameras["cameras"]:
        image = next(image for image in model.images.values() if image.name == camera["name"])
        assert np.allclose(image.cam_from_world().matrix(), camera["extrinsics"], atol=1e-5)
        intrinsics = np.array(camera["intrinsics"])
        intrinsics[:2, 2] += 0.5  # COLMAP's pixels have their centres at halves
        assert np.allclose(model.cameras[image.camera_id].calibration_matrix(), intrinsics, atol=1e-3)


def test_two_processes_predict_the_validation_split_once(city, trained, tmp_path):
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
    found = [
        sorted(p.relative_to(tmp_path / n).as_posix() for p in (tmp_path / n).rglob("*.exr")) for n in ("one", "two")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 2 * 2


def test_a_broken_file_stops_training_by_name(city, tmp_path):
    import shutil

    shutil.copytree(city, tmp_path / "broken")
    (victim,) = list((tmp_path / "broken" / "0001").glob("*_aerial.jpeg.exr"))[:1]
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(InputError, match=victim.name):
        main(words("pair_aerialmd.yaml", tmp_path / "broken", "--trainer.max_epochs=1"))


def test_missing_data_says_how_to_get_some():
    with pytest.raises(InputError, match=r"train\.npz: there is no such file"):
        main(["fit", f"--config={CONFIGS / 'pair_aerialmd.yaml'}"])


def test_random_weights_are_not_used_and_published_ones_predict(trained, tmp_path):
    write_png(tmp_path / "images" / "a.png", np.full((60, 80, 3), 128, np.uint8))
    without = [
        word for word in predict_words(trained, tmp_path / "out", tmp_path / "images") if "ckpt_path" not in word
    ]
    without += ["--model.size=tiny", "--trainer.devices=1"]
    with pytest.raises(InputError, match="random weights"):
        main(without)
    module = PairDepthCameraModule.load_from_checkpoint(trained)
    torch.save(to_published(module.network), tmp_path / "vggt.pt")
    main([*without, f"--model.published_checkpoint={tmp_path}/vggt.pt"])
    assert len(list((tmp_path / "out").rglob("*_depth.exr"))) == 1


def test_pictures_of_another_kind_are_predicted_from_a_folder(trained, tmp_path):
    for name in ("b", "a"):
        write_png(tmp_path / "images" / f"{name}.png", np.full((60, 80, 3), 128, np.uint8))
    main([*predict_words(trained, tmp_path / "out", tmp_path / "images"), "--trainer.devices=1"])
    (scene,) = (tmp_path / "out").iterdir()
    assert {path.name for path in scene.glob("*.exr")} == {"a.png_depth.exr", "b.png_depth.exr"}
