from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.spectrograms import SpectrogramDataModule, SpectrogramDataset, find_spectrograms
from formats.errors import InputError
from formats.images import write_png

IMAGE = np.zeros((32, 32, 3), np.uint8)


@pytest.mark.parametrize("layout", ["{split}/ID_{user}/{name}.png", "ID_{user}/{split}/{name}.png"])
def test_both_layouts_in_order_of_users(tmp_path: Path, layout: str) -> None:
    for user in (10, 2, 1):
        for name in ("b", "a"):
            write_png(tmp_path / layout.format(split="train", user=user, name=name), IMAGE)
    files = find_spectrograms(tmp_path, "train")
    assert [(file.user_id, file.path.stem) for file in files] == [(u, n) for u in (1, 2, 10) for n in "ab"]


def test_missing_folders_and_splits_explain_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare microdoppler-sample"):
        find_spectrograms(tmp_path / "nowhere", "train")
    (tmp_path / "train" / "Anna").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no images of split 'train'.*ID_<n>"):
        find_spectrograms(tmp_path, "train")


@pytest.mark.slow
def test_other_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    write_png(tmp_path / "train" / "ID_1" / "a.png", IMAGE)
    files = find_spectrograms(tmp_path, "train")
    with pytest.raises(InputError, match=r"a\.png: is 32×32 pixels, not 64×64.*--data\.resize"):
        SpectrogramDataset(files, 64).read(0)
    assert SpectrogramDataset(files, 64, resize=True).read(0).shape == (3, 64, 64)


def test_a_broken_image_stops_the_work_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train" / "ID_1" / "broken.png"
    write_png(path, IMAGE)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"broken\.png"):
        SpectrogramDataset(find_spectrograms(tmp_path, "train"), 32).read(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named_from_worker_processes_too(tmp_path: Path, workers: int) -> None:
    for name in ("broken", "whole"):
        write_png(tmp_path / "train" / "ID_1" / f"{name}.png", IMAGE)
    path = tmp_path / "train" / "ID_1" / "broken.png"
    path.write_bytes(path.read_bytes()[:60])
    data = SpectrogramDataModule(str(tmp_path), str(tmp_path / "out"), ("train",), image_size=32, num_workers=workers)
    data.setup("predict")
    with pytest.raises(InputError) as caught:
        list(data.predict_dataloader())
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count("\n") == 0


@pytest.mark.slow
def test_batches_and_shards(spectrograms: Path, tmp_path: Path) -> None:
    data = SpectrogramDataModule(str(spectrograms), str(tmp_path), batch_size=4, shard_size=10, image_size=64)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [len(batch["names"]) for batch in batches if batch["shard"].startswith("train")] == [4, 4, 2] * 3
    assert {batch["shard_size"] for batch in batches} == {10, 2}
    assert [name for batch in batches for name in batch["names"]] == data.names("train") + data.names("val")
    (tmp_path / "train-00002-of-00003.safetensors").touch()
    left = {batch["shard"] for batch in data.predict_dataloader()}
    assert left == {"train-00001-of-00003.safetensors", "train-00003-of-00003.safetensors"} | {
        f"val-0000{i}-of-00002.safetensors" for i in (1, 2)
    }
