"""Folders of spectrograms that people have: named users, no split, a table, other sizes and kinds of images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.spectrogram_folders import SpectrogramFolder, read_folder
from datamodules.spectrograms import SpectrogramDataModule, SpectrogramDataset, find_spectrograms
from formats.errors import InputError
from formats.spectrogram_axes import SpectrogramAxes


def write(path: Path, mode: str = "RGB", size: tuple[int, int] = (16, 16), value: Any = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def listed(folder: SpectrogramFolder, root: Path, split: str) -> list[tuple[int, str]]:
    return [(file.user_id, file.path.relative_to(root).as_posix()) for file in folder.files[split]]


@pytest.mark.parametrize("layout", ["{split}/{user}/{name}.png", "{user}/{split}/{name}.png"])
def test_users_may_have_names(layout: str, tmp_path: Path) -> None:
    for user in ("bob", "alice"):
        write(tmp_path / layout.format(split="train", user=user, name="a"))
    write(tmp_path / layout.format(split="val", user="bob", name="b"))
    folder = read_folder(tmp_path)
    assert folder.names == {"alice": 1, "bob": 2}
    assert folder.how == ""
    assert [user for user, _ in listed(folder, tmp_path, "train")] == [1, 2]
    assert [user for user, _ in listed(folder, tmp_path, "val")] == [2]


def test_other_folders_next_to_those_of_users_are_ignored(tmp_path: Path) -> None:
    write(tmp_path / "train" / "ID_07" / "a.png")
    write(tmp_path / "train" / "plots" / "a.png")
    folder = read_folder(tmp_path)
    assert folder.names == {}
    assert listed(folder, tmp_path, "train") == [(7, "train/ID_07/a.png")]


def test_a_folder_without_splits_is_split_by_recording(tmp_path: Path) -> None:
    for user in ("alice", "bob"):
        for walk in range(1, 6):
            for number in range(1, 4):
                write(tmp_path / user / f"walk{walk}_{number:03d}.png")
    folder = read_folder(tmp_path, 0.6)
    assert folder.how == "split by recording, 0.6 of each user's for training"
    assert len(folder.files["train"]) == 2 * 9
    for number in (1, 2):
        walks = [
            {file.path.name[:5] for file in folder.files[split] if file.user_id == number} for split in ("train", "val")
        ]
        assert walks == [{"walk1", "walk2", "walk3"}, {"walk4", "walk5"}]


def test_without_names_of_recordings_it_is_split_by_image(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / "ID_3" / f"{number}.png")
    folder = read_folder(tmp_path)
    assert folder.how == "split by image, 0.8 of each user's for training"
    assert listed(folder, tmp_path, "val") == [(3, "ID_3/8.png"), (3, "ID_3/9.png")]


def test_names_that_differ_altogether_tell_no_recordings(tmp_path: Path) -> None:
    for name in "abcde":
        write(tmp_path / "alice" / f"{name}.png")
    folder = read_folder(tmp_path)
    assert folder.how.startswith("split by image")
    assert listed(folder, tmp_path, "val") == [(1, "alice/e.png")]


def test_splits_without_folders_of_users_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split / "a.png")
    with pytest.raises(InputError, match="no images of split 'train' were found"):
        find_spectrograms(tmp_path, "train")


def test_a_user_with_one_image_cannot_be_split(tmp_path: Path) -> None:
    write(tmp_path / "alice" / "a.png")
    with pytest.raises(InputError, match="user 1 has one image"):
        read_folder(tmp_path)


def test_a_table_names_users_and_splits(tmp_path: Path) -> None:
    for name in ("x", "y", "z"):
        write(tmp_path / "images" / f"{name}.png")
    table = tmp_path / "users.csv"
    table.write_text("file,user,split\nimages/x.png,bob,train\nimages/y.png,alice,train\nimages/z.png,bob,val\n")
    folder = read_folder(tmp_path)
    assert folder.names == {"alice": 1, "bob": 2}
    assert listed(folder, tmp_path, "train") == [(1, "images/y.png"), (2, "images/x.png")]
    assert [file.user_id for file in find_spectrograms(tmp_path, "val")] == [2]
    table.write_text("file,user\nimages/x.png,7\nimages/y.png,7\n")
    folder = read_folder(tmp_path)
    assert (folder.names, listed(folder, tmp_path, "val")) == ({}, [(7, "images/y.png")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,person\nx.png,1\n", "row without file or user"),
        ("file,user\nx.png,1\n", "names 'x.png', which is not a file"),
        ("file,user\n../a.png,1\n", "names '../a.png', which is not a file"),
        ("file,user\n", "names no files"),
        ("file,user,split\na.png,1,train\na.png,1,\n", "a split to some files only"),
    ],
)
def test_broken_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "users.csv").write_text(text)
    with pytest.raises(InputError, match=rf"users\.csv: .*{message}"):
        read_folder(tmp_path)


def prepared(root: Path, **settings: Any) -> SpectrogramDataModule:
    data = SpectrogramDataModule(str(root), str(root / "out"), image_size=16, num_workers=0, **settings)
    data.setup("predict")
    return data


def test_one_line_says_what_was_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for user, mode, size in (("alice", "L", (16, 16)), ("bob", "RGBA", (24, 12)), ("carl", "I;16", (16, 16))):
        for number in range(4):
            write(tmp_path / user / f"{number}.png", mode, size)
    with caplog.at_level("INFO"):
        data = prepared(tmp_path, resize="pad", split=0.5)
    assert caplog.messages == [
        f"{tmp_path}: users alice = 1, bob = 2, carl = 3; split by image, 0.5 of each user's for training; "
        "24×12 is padded to a square and resized to 16×16; grey becomes three equal channels; "
        "16 bits are reduced to 8; alpha is dropped"
    ]
    assert len(data.datasets["train"]) == len(data.datasets["val"]) == 6
    assert data.datasets["train"].read(2).shape == (3, 16, 16)


def test_the_published_layout_needs_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        write(tmp_path / split / "ID_1" / "a.png")
    with caplog.at_level("INFO"):
        prepared(tmp_path)
    assert caplog.messages == []


def test_other_sizes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split / "ID_1" / "a.png", size=(20, 10))
    with pytest.raises(InputError, match=r"is 20×10 pixels, not 16×16\. Pass --data\.resize squeeze .* pad"):
        prepared(tmp_path)
    SpectrogramAxes(2.0, -1.0, 4.0).write(tmp_path)
    prepared(tmp_path, resize="squeeze")
    with pytest.raises(InputError, match=r"--data\.resize: pad would move the axes"):
        prepared(tmp_path, resize="pad")


@pytest.mark.parametrize(("resize", "dark"), [("squeeze", 0), (True, 0), ("pad", 8)])
def test_padding_keeps_the_aspect_and_squeezing_does_not(resize: Any, dark: int, tmp_path: Path) -> None:
    """A bright line over the full width: padding adds dark rows above and below."""
    image = np.zeros((8, 16, 3), np.uint8)
    image[3:5] = 250
    path = tmp_path / "train" / "ID_1" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(image).save(path)
    read = SpectrogramDataset(find_spectrograms(tmp_path, "train"), 16, resize).read(0)
    bright = int((read[0, :, 8] > 125).sum())
    assert bright == (2 if dark else 4)
    assert read.shape == (3, 16, 16)


def test_grey_and_16_bit_images_are_read(tmp_path: Path) -> None:
    write(tmp_path / "train" / "ID_1" / "a.png", "L", value=77)
    write(tmp_path / "train" / "ID_1" / "b.png", "I;16", value=77 * 257)
    write(tmp_path / "train" / "ID_1" / "c.png", "RGBA", value=(77, 77, 77, 10))
    dataset = SpectrogramDataset(find_spectrograms(tmp_path, "train"), 16)
    assert [int(dataset.read(place).unique()) for place in range(3)] == [77, 77, 77]


def test_the_share_is_checked() -> None:
    with pytest.raises(InputError, match=r"--data\.split"):
        SpectrogramDataModule(split=1.0)
