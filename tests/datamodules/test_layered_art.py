"""Layered art as batches: stable splits, exact augmentation, seeds, resuming, and skipped samples."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from datamodules.layered_art import LayeredArtDataModule
from formats.errors import InputError
from formats.images import write_png
from formats.layered_art.pairs import layer_pair, write_layer_pair

SIDE = 24
AUGMENTED: dict[str, Any] = {
    "flip_augmentation": True,
    "turn_augmentation": True,
    "crop_augmentation": 0.4,
    "colour_augmentation": 0.3,
}


def write_sample(root: Path, category: str, name: str) -> None:
    """Write an image whose colours are positions, and orders that number the pixels."""
    y, x = np.mgrid[:20, :30]
    image = np.stack([8 * x, 8 * y, np.full_like(x, hash_of(name))], axis=-1).astype(np.uint8)
    write_layer_pair(layer_pair(root, category, name), image, (y * 30 + x).astype(np.uint16))


def hash_of(name: str) -> int:
    return sum(name.encode()) % 256


def write_data(root: Path, count: int = 60) -> Path:
    for number in range(count):
        write_sample(root, ("cats", "dogs")[number % 2], f"{number:03d}")
    return root


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("art"))


@pytest.fixture
def own_dir(data_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data_dir, tmp_path / "own")


def ready(data_dir: Path | list[Path], stage: str = "fit", **arguments: Any) -> LayeredArtDataModule:
    folders = [str(folder) for folder in data_dir] if isinstance(data_dir, list) else str(data_dir)
    settings: dict[str, Any] = {
        "image_size": SIDE,
        "num_workers": 0,
        "batch_size": 4,
        "val_share": 0.2,
        "test_share": 0.1,
    }
    data = LayeredArtDataModule(folders, **settings | arguments)
    data.setup(stage)
    return data


def assert_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert_close(value, other[key], rtol=0, atol=0, msg=key)
        else:
            assert value == other[key]


def splits(data_dir: Path, **arguments: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for stage in ("fit", "test"):
        for split, dataset in ready(data_dir, stage, **arguments).datasets.items():
            found[split] = set(dataset.names)
    return found


def error_of(loader: Iterable[object]) -> str:
    """Return the InputError that reading ends in; unlike with pytest.raises, no traceback keeps the workers alive."""
    try:
        list(loader)
    except InputError as error:
        return str(error)
    raise AssertionError("no InputError")


def test_a_batch_has_the_shapes_types_and_names_of_its_contract(data_dir: Path) -> None:
    data = ready(data_dir)
    batch = next(iter(data.train_dataloader()))
    assert batch["images"].shape == (4, 3, SIDE, SIDE)
    assert batch["orders"].shape == batch["masks"].shape == (4, SIDE, SIDE)
    kinds = {"images": torch.uint8, "orders": torch.int32, "masks": torch.bool, "layer_counts": torch.int64}
    for key, kind in (kinds | {"weights": torch.float32}).items():
        assert batch[key].dtype == kind, key
        assert batch[key].is_contiguous(), key
    assert batch.keys() == {*kinds, "weights", "names"}
    assert batch["layer_counts"].tolist() == [599] * 4
    assert batch["weights"].tolist() == [1] * 4
    assert batch["masks"].all()
    assert set(batch["names"]) <= {f"{('cats', 'dogs')[number % 2]}/{number:03d}" for number in range(60)}
    for name, image in zip(batch["names"], batch["images"], strict=True):
        assert (image[2] == hash_of(name.split("/")[1])).all()


def test_splits_are_disjoint_cover_all_and_keep_their_shares(data_dir: Path) -> None:
    found = splits(data_dir)
    assert sum(len(names) for names in found.values()) == len(set.union(*found.values())) == 60
    assert 6 <= len(found["val"]) <= 19
    assert 1 <= len(found["test"]) <= 13
    assert splits(data_dir) == found
    assert splits(data_dir, split_seed=1) != found
    for category in ("cats", "dogs"):
        assert any(name.startswith(category) for name in found["val"])


def test_added_files_do_not_move_samples(own_dir: Path) -> None:
    before = splits(own_dir)
    for number in range(40):
        write_sample(own_dir, ("ants", "cats")[number % 2], f"new{number}")
    after = splits(own_dir)
    for split, names in before.items():
        assert {name for name in after[split] if "new" not in name} == names
    assert sum(len(names) for names in after.values()) == 100


def test_categories_and_limits(data_dir: Path) -> None:
    data = ready(data_dir, categories=["dogs"], limit=10, val_limit=2)
    chosen = set(data.datasets["train"].names)
    assert len(chosen) == 10
    assert len(data.datasets["val"]) == 2
    assert all(name.startswith("dogs/") for name in chosen)
    assert chosen < set(ready(data_dir, categories=["dogs"], limit=15).datasets["train"].names)
    assert chosen < splits(data_dir)["train"]
    with pytest.raises(InputError, match=r"none of the categories birds\. It has cats, dogs"):
        ready(data_dir, categories=["birds"])


def test_an_empty_split_is_refused_with_a_remedy(data_dir: Path) -> None:
    with pytest.raises(InputError, match=r"none of its 60 .* the split 'val'.*larger --data\.val_share"):
        ready(data_dir, val_share=0.0)
    with pytest.raises(InputError, match="split 'test'"):
        ready(data_dir, "test", test_share=0.0)


def test_several_folders_train_and_one_validates(data_dir: Path, tmp_path: Path) -> None:
    other = write_data(tmp_path / "simulated", 30)
    whole = ready([data_dir, other])
    assert len(whole.datasets["train"]) > 55
    names = whole.datasets["train"].names + whole.datasets["val"].names
    assert len(set(names)) == len(names)
    assert {"cats/000@simulated", f"cats/000@{data_dir.name}"} <= set(names)  # a name of both folders
    assert "cats/030" in names
    held_out = ready([other, data_dir], val_data_dir=str(data_dir))
    alone = ready(data_dir)
    assert held_out.datasets["val"].names == alone.datasets["val"].names
    assert len(held_out.datasets["train"]) == len(whole.datasets["train"])
    only_other = ready(other, val_data_dir=str(data_dir))
    assert len(only_other.datasets["train"]) == len(held_out.datasets["train"]) - len(alone.datasets["train"])


@pytest.mark.parametrize("augmentation", [{}, AUGMENTED | {"colour_augmentation": 0.0}])
def test_image_and_orders_are_augmented_alike(data_dir: Path, augmentation: dict[str, Any]) -> None:
    data = ready(data_dir, **augmentation)
    loader: Any = data.train_dataloader()
    directions: set[tuple[int, ...]] = set()
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            y, x = batch["orders"] // 30, batch["orders"] % 30
            assert (batch["images"][:, 0].int() - 8 * x).abs().max() <= 14
            assert (batch["images"][:, 1].int() - 8 * y).abs().max() <= 14
            assert (batch["layer_counts"] == 599).all()
            corners = [(orders[0, -1] - orders[0, 0], orders[-1, 0] - orders[0, 0]) for orders in batch["orders"].int()]
            directions |= {tuple(int(torch.sign(step)) * (1 + (abs(int(step)) >= 30)) for step in c) for c in corners}
    assert len(directions) == (8 if augmentation else 1)  # all orientations of a square, or one


def test_colour_augmentation_leaves_orders_alone(data_dir: Path) -> None:
    plain, coloured = (
        next(iter(ready(data_dir, colour_augmentation=reach).train_dataloader())) for reach in (0.0, 0.5)
    )
    assert_close(plain["orders"], coloured["orders"], rtol=0, atol=0)
    changes = (plain["images"].int() - coloured["images"].int()).abs().float().mean(dim=(1, 2, 3))
    assert (changes > 1).all()


def test_augmentation_does_not_depend_on_workers_and_batch_size(data_dir: Path) -> None:
    def epochs(**arguments: Any) -> dict[tuple[int, str], dict[str, Any]]:
        loader: Any = ready(data_dir, limit=24, **AUGMENTED | arguments).train_dataloader()
        samples: dict[tuple[int, str], dict[str, Any]] = {}
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            for batch in loader:
                for row, name in enumerate(batch["names"]):
                    samples[epoch, name] = {key: value[row] for key, value in batch.items()}
        return samples

    one, other, large = epochs(), epochs(num_workers=2), epochs(batch_size=12)
    assert one.keys() == other.keys() == large.keys()
    for key in one:
        assert_equal(one[key], other[key])
        assert_equal(one[key], large[key])
    names = {name for _, name in one}
    moved = [not torch.equal(one[0, name]["orders"], one[1, name]["orders"]) for name in names]
    assert np.mean(moved) > 0.7
    reseeded = epochs(seed=1)
    assert any(not torch.equal(one[0, name]["orders"], reseeded[0, name]["orders"]) for name in names)


def test_an_interrupted_epoch_is_resumed_exactly(data_dir: Path) -> None:
    def loader(state: dict[str, Any] | None = None) -> tuple[LayeredArtDataModule, Any]:
        data = ready(data_dir, **AUGMENTED)
        if state:
            data.load_state_dict(state)
        return data, data.train_dataloader()

    data, whole = loader()
    whole.sampler.set_epoch(1)
    batches: list[dict[str, Any]] = []
    state: dict[str, Any] | None = None
    for number, batch in enumerate(whole):
        batches.append(batch)
        if number == 2:
            state = data.state_dict()
    _, rest = loader(state)
    resumed = list(rest)
    assert len(resumed) == len(batches) - 3
    for one, other in zip(batches[3:], resumed, strict=True):
        assert_equal(one, other)


def test_evaluation_uses_every_sample_once_without_augmentation(data_dir: Path) -> None:
    plain, augmented = (list(ready(data_dir, **more).val_dataloader()) for more in ({}, AUGMENTED))
    for one, other in zip(plain, augmented, strict=True):
        assert_equal(one, other)
    seen = [name for batch in plain for name in batch["names"]]
    assert sorted(seen) == sorted(splits(data_dir)["val"])
    tested = [name for batch in ready(data_dir, "test").test_dataloader() for name in batch["names"]]
    assert sorted(tested) == sorted(splits(data_dir)["test"])


def test_padding_rows_have_no_weight(data_dir: Path) -> None:
    batch = ready(data_dir).datasets["val"].__getitems__([0, -1])
    assert batch["weights"].tolist() == [1, 0]
    assert batch["names"][1] == ""
    assert not batch["masks"][1].any()
    assert not batch["images"][1].any()
    assert not batch["orders"][1].any()
    assert batch["layer_counts"].tolist() == [599, 1]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_broken_files_are_named_or_skipped(own_dir: Path, num_workers: int, caplog: pytest.LogCaptureFixture) -> None:
    name = ready(own_dir).datasets["train"].names[3]
    write_png(own_dir / "orders" / f"{name}.png", np.zeros((20, 31), np.uint16))
    message = error_of(ready(own_dir, num_workers=num_workers).train_dataloader())
    assert f"{name}.png: has 31×20 pixels, its image 30×20" in message
    assert "\n" not in message
    data = ready(own_dir, num_workers=num_workers, on_error="skip", batch_size=1)
    caplog.clear()
    weights = {batch["names"][0]: batch["weights"].item() for batch in data.train_dataloader()}
    assert [other for other, weight in weights.items() if weight == 0] == [name]
    (record,) = caplog.records
    assert f"epoch 0: 1 samples skipped:\n  {name}: " in record.getMessage()


@pytest.mark.slow
def test_missing_files_are_named_before_training_or_left_out(own_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = ready(own_dir).datasets["train"].names[3]
    (own_dir / "orders" / f"{name}.png").unlink()
    with pytest.raises(InputError, match=rf"orders/{name}\.png: no such file"):
        ready(own_dir)
    data = ready(own_dir, on_error="skip")
    assert name not in data.datasets["train"].names
    list(data.train_dataloader())
    assert [f"{name}: " in record.getMessage() for record in caplog.records] == [True]


def test_a_coco_data_set_keeps_its_own_split(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1)):
        for number in range(count):
            write_png(tmp_path / "images" / split / f"{number}.png", np.zeros((8, 8, 3), np.uint8))
            write_png(tmp_path / "depths" / split / f"{number}.png", np.full((8, 8), 50 * number, np.uint8))
        entries = ", ".join(f'{{"id": {number}, "file_name": "{number}.png"}}' for number in range(count))
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{split}.json").write_text(f'{{"images": [{entries}]}}')
    found = splits(tmp_path)
    assert found == {"train": {"train/0", "train/1", "train/2"}, "val": {"val/0"}, "test": {"val/0"}}
    batch = ready(tmp_path).datasets["train"].__getitems__([2])
    assert (batch["orders"] == 100).all()
    assert batch["layer_counts"].tolist() == [255]


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 0},
        {"crop_augmentation": 1.0},
        {"limit": 0},
        {"test_share": 0.95},
        {"categories": []},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"--data.{next(iter(wrong))}"):
        LayeredArtDataModule(**wrong)
