"""Splits in all their variants, cameras and masks; errors name the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from formats.aerial_megadepth import image_files, read_camera, read_labels, read_split, write_camera, write_split
from formats.errors import InputError
from formats.images import write_png

FIELDS = [("scene_id", "<i4"), ("im1_id", "<i4"), ("im2_id", "<i4"), ("score", "<f4")]
TABLE = [(0, 0, 1, 0.5), (1, 3, 4, 0.25), (0, 1, 4, 0.75)]
SCENES = ["0001", "0002"]
IMAGES = ["a.jpg", "b.jpg", "c.jpg", "x.jpeg", "y.png"]
OWNERS = ["0001", "0001", "0001", "0002", "0002"]


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def save(path: Path, pairs: Any, scenes: Any = SCENES, images: Any = IMAGES, owners: Any = OWNERS, **more: Any) -> Path:
    np.savez(path, pairs=pairs, scenes=scenes, images=images, images_scene_name=owners, **more)
    return path


VARIANTS = {
    "structured": np.array(TABLE, dtype=FIELDS),
    "structured in another order": np.array([row[::-1] for row in TABLE], dtype=FIELDS[::-1]),
    "float": np.array(TABLE),
    "object table": np.array(TABLE, dtype=object),
    "object rows": objects(TABLE),
    "object arrays": objects([np.array(row) for row in TABLE]),
    "object lists": objects([list(row) for row in TABLE]),
    "object records": objects([*np.array(TABLE, dtype=FIELDS)]),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("names", [np.array, objects])
def test_every_variant_reads_the_same(tmp_path: Path, variant: str, names: Any) -> None:
    path = save(tmp_path / "train.npz", VARIANTS[variant], names(SCENES), names(IMAGES), names(OWNERS))
    split = read_split(path)
    assert len(split) == 3
    assert split.pairs.dtype == np.int64
    assert split.pairs.tolist() == [[0, 1], [3, 4], [1, 4]]
    assert split.scene_ids.tolist() == [0, 1, 0]
    assert split.scores.tolist() == [0.5, 0.25, 0.75]
    assert (split.scenes, split.images, split.images_scene_name) == (SCENES, IMAGES, OWNERS)


def test_an_image_has_its_own_scene(tmp_path: Path) -> None:
    split = read_split(save(tmp_path / "train.npz", VARIANTS["float"]))
    assert split.scene_ids[2] == 0
    assert split.image(int(split.pairs[2, 1])) == ("0002", "y.png")


def test_unused_ids(tmp_path: Path) -> None:
    images, owners = objects(["a.jpg", "b.jpg", None, "x.jpeg", "y.png"]), objects([*OWNERS[:2], None, *OWNERS[3:]])
    split = read_split(save(tmp_path / "train.npz", VARIANTS["object rows"], objects(["0001", None]), images, owners))
    assert split.images[2] is None
    assert split.scenes == ["0001", None]


@pytest.mark.parametrize("unused", ["images", "owners"])
def test_a_pair_with_an_unused_id_is_refused(tmp_path: Path, unused: str) -> None:
    lists = {"images": objects(IMAGES), "owners": objects(OWNERS)}
    lists[unused][3] = None
    with pytest.raises(InputError, match=r"train\.npz: pair 1 names image 3, which has no name or no scene"):
        read_split(save(tmp_path / "train.npz", VARIANTS["float"], **lists))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, 0, 5, 1), "pair 1 names image 5, but there are 5"),
        ((0, -1, 0, 1), "pair 1 names image -1, but there are 5"),
        ((2, 0, 1, 1), "pair 1 names scene 2, but there are 2"),
        ((0, 0.5, 1, 1), "pair 1 has 0.5 as an ID"),
        ((0, np.nan, 1, 1), "pair 1 has nan as an ID"),
    ],
)
def test_wrong_ids_are_named(tmp_path: Path, row: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=rf"train\.npz: {message}"):
        read_split(save(tmp_path / "train.npz", np.array([TABLE[0], row])))


@pytest.mark.parametrize(
    "pairs",
    [
        np.zeros((2, 3)),
        np.zeros(4),
        objects([(0, 0, 1), (0, 0, 1)]),
        objects([None, 3]),
        np.array(TABLE, FIELDS)[["score"]],
    ],
)
def test_pairs_of_another_shape_are_refused(tmp_path: Path, pairs: NDArray[Any]) -> None:
    with pytest.raises(InputError, match=r"train\.npz: 'pairs'"):
        read_split(save(tmp_path / "train.npz", pairs))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "b/../../a.jpg", "", 7, "..\\a.jpg"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(InputError, match=r"train\.npz: entry 2 of 'images'"):
        read_split(save(tmp_path / "train.npz", np.array(TABLE), images=objects([*IMAGES[:2], name, *IMAGES[3:]])))


def test_missing_keys_and_lengths_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", scenes=SCENES, images=IMAGES)
    with pytest.raises(InputError, match=r"train\.npz: has no 'pairs', 'images_scene_name'"):
        read_split(tmp_path / "train.npz")
    with pytest.raises(InputError, match="5 images but 4 entries"):
        read_split(save(tmp_path / "train.npz", np.array(TABLE), owners=OWNERS[:4]))


def test_an_empty_split(tmp_path: Path) -> None:
    assert len(read_split(save(tmp_path / "train.npz", np.zeros((0, 4))))) == 0


def test_a_written_split_comes_back_the_same_each_time(tmp_path: Path) -> None:
    pairs, scores = np.array([[0, 1], [3, 4]]), np.array([0.5, 0.25])
    for name in ("a.npz", "b.npz"):
        write_split(tmp_path / name, SCENES, IMAGES, OWNERS, pairs, scores)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    split = read_split(tmp_path / "a.npz")
    assert split.pairs.tolist() == pairs.tolist()
    assert split.scores.tolist() == scores.tolist()
    assert split.scene_ids.tolist() == [0, 1]
    assert split.images == IMAGES
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["pairs"].dtype.names == ("scene_id", "im1_id", "im2_id", "score")


K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
POSE = np.array([[0.0, -1, 0, 5], [1, 0, 0, -2], [0, 0, 1, 30], [0, 0, 0, 1]])


def test_a_camera_comes_back(tmp_path: Path) -> None:
    write_camera(tmp_path / "a.jpg.npz", K, POSE.astype(np.float32))
    intrinsics, cam2world = read_camera(tmp_path / "a.jpg.npz")
    assert intrinsics.tolist() == K.tolist()
    assert cam2world.tolist() == POSE.tolist()
    assert intrinsics.dtype == cam2world.dtype == np.float64


MIRROR = np.diag([-1.0, 1, 1, 1])


@pytest.mark.parametrize(
    ("intrinsics", "cam2world", "message"),
    [
        (K[:2], POSE, r"'intrinsics' is float64 of shape \(2, 3\)"),
        (K, POSE[:3], r"'cam2world' is float64 of shape \(3, 4\)"),
        (K * np.nan, POSE, "'intrinsics' is not finite"),
        (K, np.full((4, 4), np.inf), "'cam2world' is not finite"),
        (-K, POSE, "'intrinsics' is not a camera matrix"),
        (K.T, POSE, "'intrinsics' is not a camera matrix"),
        (K, POSE * 2, "'cam2world' is not a rotation"),
        (K, POSE @ MIRROR, "'cam2world' is not a rotation"),
        (K, POSE.T, "'cam2world' is not a rotation"),
        (K.astype(str), POSE, "'intrinsics' is <U"),
    ],
)
def test_wrong_cameras_are_named(
    tmp_path: Path, intrinsics: NDArray[Any], cam2world: NDArray[Any], message: str
) -> None:
    np.savez(tmp_path / "a.jpg.npz", intrinsics=intrinsics, cam2world=cam2world)
    with pytest.raises(InputError, match=rf"a\.jpg\.npz: {message}"):
        read_camera(tmp_path / "a.jpg.npz")


def test_a_camera_without_pose_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.jpg.npz", intrinsics=K)
    with pytest.raises(InputError, match=r"a\.jpg\.npz: has no 'cam2world', only 'intrinsics'"):
        read_camera(tmp_path / "a.jpg.npz")


def test_labels_of_grey_and_palette_images(tmp_path: Path) -> None:
    labels = np.array([[0, 2], [149, 2]], dtype=np.uint8)
    write_png(tmp_path / "grey.png", labels)
    palette = Image.fromarray(labels, mode="P")
    palette.putpalette([value for index in range(256) for value in (255 - index, 0, 9)])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "deep.png")
    for name in ("grey", "palette", "deep"):
        assert read_labels(tmp_path / f"{name}.png").tolist() == labels.tolist()


def test_wrong_labels_are_named(tmp_path: Path) -> None:
    write_png(tmp_path / "colour.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match=r"colour\.png: holds uint8 of shape \(2, 2, 3\)"):
        read_labels(tmp_path / "colour.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"cut\.png: cannot be read"):
        read_labels(tmp_path / "cut.png")
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_labels(tmp_path / "none.png")


def test_paths_of_files() -> None:
    files = image_files("root", "seg", "0001", "x.jpg")
    names = ["root/0001/x.jpg.jpg", "root/0001/x.jpg.exr", "root/0001/x.jpg.npz", "seg/0001/x.jpg.png"]
    assert [path.as_posix() for path in files.all()] == names
    assert image_files("root", None, "0001", "x.jpg").mask is None
