"""AerialMegaDepth batches: exact geometry, cleaning, seeds and loaders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from batches.pair import PairBatch
from datamodules.aerial_megadepth import AerialMegaDepthDataModule
from datamodules.aerial_megadepth.views import choose_views, clean_depth
from formats.aerial_megadepth import image_files, read_camera, read_split, write_split
from formats.errors import InputError
from formats.exr import read_depth, write_depth
from geometry.cameras import project, world_to_camera
from tests.support.aerial_scene import NORMAL, OFFSET, PAIRS, SCENES, SIDE, SKY_ROWS, ready, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("aerial"))


@pytest.fixture
def own_scene(scene: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scene, tmp_path / "aerial")


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert_close(value, other[key], rtol=0, atol=0, msg=key)
        else:
            assert value == other[key]


def test_a_batch_has_the_shapes_types_and_names_of_its_contract(scene: Path) -> None:
    (batch,) = ready(scene, batch_size=3).train_dataloader()
    H, W = 42, 56
    shapes = {
        "images": (3, 2, 3, H, W),
        "depths": (3, 2, H, W),
        "extrinsics": (3, 2, 3, 4),
        "intrinsics": (3, 2, 3, 3),
        "cam_points": (3, 2, H, W, 3),
        "world_points": (3, 2, H, W, 3),
        "point_masks": (3, 2, H, W),
        "weights": (3,),
    }
    assert batch.keys() == {*shapes, "seq_name"}
    for key, shape in shapes.items():
        assert batch[key].shape == shape, key
        assert batch[key].dtype == (torch.bool if key == "point_masks" else torch.float32), key
    assert sorted(batch["seq_name"]) == [
        "aerial_megadepth_0001_0",
        "aerial_megadepth_0001_1",
        "aerial_megadepth_0002_2",
    ]
    assert batch["images"].min() >= 0
    assert 0.5 < batch["images"].max() <= 1
    assert batch["weights"].tolist() == [1, 1, 1]
    assert (batch["point_masks"] == (batch["depths"] > 0)).all()


def test_sizes_are_those_of_the_published_example(scene: Path) -> None:
    batch = next(iter(ready(scene, image_size=518, aspect=0.92).train_dataloader()))
    assert batch["images"].shape[-2:] == (476, 518)


AUGMENTED: dict[str, Any] = {
    "scale_augmentation": 0.3,
    "aspect_augmentation": 0.3,
    "flip_augmentation": True,
    "colour_augmentation": 0.4,
}


@pytest.mark.parametrize("augmentation", [{}, AUGMENTED])
def test_points_lie_on_the_plane_and_project_into_both_views(scene: Path, augmentation: dict[str, Any]) -> None:
    data = ready(scene, "fit", image_size=280, **augmentation)
    normal = torch.tensor(NORMAL, dtype=torch.float32)
    mirrored = 0
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.epoch_sampler.set_epoch(epoch)
        for batch in loader:
            mask, points = batch["point_masks"], batch["world_points"]
            assert mask.float().mean() > 0.5
            distances = [
                (points @ (normal * torch.tensor([sign, 1, 1])) - OFFSET)[mask].abs().max() for sign in (1.0, -1.0)
            ]
            mirrored += int(distances[1] < distances[0])
            assert min(distances) < 0.2  # half a source pixel of a slanted plane at 60 m
            rotations = batch["extrinsics"][..., :3]
            assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5, rtol=0)
            assert (torch.linalg.det(rotations) > 0).all()
            pixels = project(world_to_camera(points, batch["extrinsics"]), batch["intrinsics"])
            v, u = torch.meshgrid(
                torch.arange(float(mask.shape[-2])), torch.arange(float(mask.shape[-1])), indexing="ij"
            )
            assert (pixels - torch.stack([u, v], dim=-1))[mask].abs().max() < 0.05
    assert (0 < mirrored < 9) if augmentation else mirrored == 0


def test_extrinsics_are_the_inverse_of_cam2world(scene: Path) -> None:
    data = ready(scene, "validate")
    batch = next(iter(data.val_dataloader()))
    for view, image in enumerate(SCENES["0001"][:2]):
        _, cam2world = read_camera(scene / "0001" / f"{image}.npz")
        extrinsics = torch.cat([batch["extrinsics"][0, view].double(), torch.tensor([[0.0, 0, 0, 1]]).double()])
        assert_close(extrinsics @ torch.from_numpy(cam2world), torch.eye(4).double(), atol=1e-5, rtol=0)


def test_depth_is_cleaned_in_order() -> None:
    depth = np.array([[np.nan, np.inf, -1, 0, 2001, 1900, 1, 2, 3, 4, 5]], dtype=np.float32)
    sky = np.zeros(depth.shape, bool)
    sky[0, 5] = True
    assert clean_depth(depth, sky, 2000, 100).tolist() == [[0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]]
    assert clean_depth(depth, None, 2000, 100)[0, 5] == 1900
    # Only what is left after the first two steps decides where outliers begin: 1, 2, 3, 4 of 1…5.
    assert clean_depth(depth, sky, 2000, 80).tolist() == [[0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0]]
    assert not clean_depth(np.zeros((2, 2), np.float32), None, 2000, 98).any()


def test_the_sky_is_removed_where_masks_are_given(scene: Path) -> None:
    def depths(**settings: Any) -> Tensor:
        loader = ready(scene, "validate", depth_percentile=100, **settings).val_dataloader()
        result: Tensor = next(iter(loader))["depths"]
        return result

    assert depths().max() < 100
    assert depths(segmentation_dir=None).max() == 500
    assert depths(segmentation_dir=None, max_depth=400).max() < 100
    assert (depths()[0, 0, 0] == 0).all()


def test_the_same_random_draws_under_any_number_of_workers_and_batches(scene: Path) -> None:
    def epochs(**settings: Any) -> dict[tuple[int, str], dict[str, Any]]:
        data = ready(scene, aspect=0.75, **AUGMENTED | {"aspect_augmentation": 0}, **settings)
        loader = data.train_dataloader()
        samples: dict[tuple[int, str], dict[str, Any]] = {}
        for epoch in (0, 1):
            loader.epoch_sampler.set_epoch(epoch)
            for batch in loader:
                for row, name in enumerate(batch["seq_name"]):
                    samples[epoch, name] = {key: value[row] for key, value in batch.items()}
        return samples

    one, other, large = epochs(), epochs(num_workers=2), epochs(batch_size=3)
    assert len(one) == len(other) == len(large) == 6
    for key in one:
        same(one[key], other[key])
        same(one[key], large[key])
    first, second = (one[epoch, "aerial_megadepth_0001_0"]["images"] for epoch in (0, 1))
    assert (first - second).abs().max() > 0.1
    assert (epochs(seed=1)[0, "aerial_megadepth_0001_0"]["images"] - first).abs().max() > 0.1


def test_validation_is_never_augmented(scene: Path) -> None:
    plain, augmented = (next(iter(ready(scene, **more).val_dataloader())) for more in ({}, AUGMENTED))
    same(plain, augmented)


def test_validation_covers_every_pair_once_over_processes(scene: Path) -> None:
    data = ready(scene, "validate", batch_size=4)
    dataset = data.datasets["val"]
    batch = dataset.__getitems__([1, -1])
    assert batch["weights"].tolist() == [1, 0]
    assert not batch["depths"][1].any()
    assert batch["seq_name"] == ["aerial_megadepth_0002_1", ""]
    assert all(torch.isfinite(value).all() for value in batch.values() if isinstance(value, torch.Tensor))


class Names(LightningModule):
    """Collects the names of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def predict_step(self, batch: PairBatch) -> Tensor:
        self.names += batch["seq_name"]
        return batch["weights"]  # Lightning warns if the step returns None

    def validation_step(self, batch: PairBatch) -> None:
        self.names += batch["seq_name"]

    test_step = validation_step


def trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_reads_every_stage_in_order(scene: Path, workers: int) -> None:
    expected = ["aerial_megadepth_0001_0", "aerial_megadepth_0002_1"]
    data = AerialMegaDepthDataModule(str(scene), str(scene / "seg"), image_size=SIDE, num_workers=workers)
    for stage in ("predict", "validate", "test"):
        module = Names()
        arguments = {"return_predictions": False} if stage == "predict" else {"verbose": False}
        getattr(trainer(), stage)(module, data, **arguments)
        assert module.names == expected, stage


def test_an_interrupted_epoch_continues(scene: Path) -> None:
    whole = ready(scene).train_dataloader()
    names = [batch["seq_name"] for batch in whole]
    begun = ready(scene)
    iterator = iter(begun.train_dataloader())
    next(iterator)
    resumed = ready(scene)
    resumed.load_state_dict(begun.state_dict())
    assert [batch["seq_name"] for batch in resumed.train_dataloader()] == names[1:]


def test_further_views_overlap_with_the_pair_and_none_is_repeated(
    scene: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ready(scene, views=3, val_split="train.npz")
    dataset = data.datasets["train"]
    assert dataset.image_ids.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert "1 of 3 pairs are left out, as they have fewer than 3 views" in caplog.text
    assert dataset.__getitems__([0])["images"].shape[1] == 3
    with pytest.raises(InputError, match=r"train\.npz: has no pair with 4 usable views"):
        ready(scene, views=4)


def test_companions_come_by_overlap_and_from_the_same_scene(tmp_path: Path) -> None:
    pairs, scores = np.array([[0, 1], [0, 2], [1, 3], [3, 4], [0, 0]]), np.array([0.5, 0.1, 0.2, 0.9, 1.0])
    write_split(tmp_path / "s.npz", ["s"], list("abcde"), ["s"] * 5, pairs, scores)
    split = read_split(tmp_path / "s.npz")  # its last pair is an image with itself, which is not used
    places, images = choose_views(split, 3)
    expected = {0: [0, 1, 3], 1: [0, 2, 1], 2: [1, 3, 4], 3: [3, 4, 1]}
    assert dict(zip(places.tolist(), images.tolist(), strict=True)) == expected
    assert choose_views(split, 2)[0].tolist() == [0, 1, 2, 3]


def test_depth_and_mask_of_another_size(own_scene: Path) -> None:
    def batch() -> PairBatch:
        result: PairBatch = next(iter(ready(own_scene, "validate", image_size=280).val_dataloader()))
        return result

    expected = batch()
    files = image_files(own_scene, own_scene / "seg", "0001", "a.jpg")
    with Image.open(files.image) as image:
        image.resize((192, 144), Image.Resampling.BICUBIC).save(files.image, quality=95)
    found = batch()  # by its principal point the camera belongs to the depth's size
    assert_close(found["extrinsics"], expected["extrinsics"])
    assert_close(found["intrinsics"], expected["intrinsics"], atol=2.5, rtol=0)  # windows in whole pixels
    distance = found["world_points"] @ torch.tensor(NORMAL, dtype=torch.float32) - OFFSET
    assert distance[found["point_masks"]].abs().max() < 0.25
    write_depth(files.depth, read_depth(files.depth)[:, :60])
    with pytest.raises(
        InputError, match=r"a\.jpg\.exr: is 60×72, while a\.jpg\.jpg is 192×144, which has another aspect ratio"
    ):
        batch()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 500}, "--data.image_size: must be a positive multiple of 14"),
        ({"views": 1}, "--data.views"),
        ({"aspect": 0.0}, "--data.aspect"),
        ({"scale_augmentation": 1.0}, "--data.scale_augmentation"),
        ({"depth_percentile": 0.0}, "--data.depth_percentile"),
        ({"val_split": "none.npz"}, r"none\.npz: no such file.*--data\.val_split"),
        ({"segmentation_dir": "nowhere"}, "nowhere: no such folder.*--data.segmentation_dir"),
    ],
)
def test_wrong_settings_are_named(scene: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ready(scene, **settings)


def test_the_scene_is_as_the_tests_assume(scene: Path) -> None:
    split = read_split(scene / "train.npz")
    assert split.pairs.tolist() == [list(pair) for pair in PAIRS]
    depth = read_depth(scene / "0001" / "a.jpg.exr")
    assert (depth[:SKY_ROWS] == 500).all()
    assert depth[SKY_ROWS:].max() < 100
