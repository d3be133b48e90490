from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
import torch

from exporters.cameras_json import write_cameras_json
from exporters.colmap import write_colmap_text
from formats.errors import InputError
from geometry.cameras import camera_to_world, unproject
from geometry.rotations import quaternion_to_matrix

NAMES = ["left/0001.jpg", "right.png", "half_turn.png"]
WIDTH, HEIGHT = 40, 30


@pytest.fixture
def rig() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    quaternions = torch.cat([torch.randn(2, 4, generator=generator).double(), torch.tensor([[0.0, 1, 0, 0]])])
    translations = torch.randn(3, 3, 1, generator=generator).double()
    intrinsics = torch.tensor([[35.5, 0, 19.5], [0, 36.25, 14.25], [0, 0, 1]]).double().repeat(3, 1, 1)
    intrinsics[1, 0, 0] = 50
    return {
        "names": NAMES,
        "extrinsics": torch.cat([quaternion_to_matrix(quaternions), translations], dim=-1),
        "intrinsics": intrinsics,
        "width": WIDTH,
        "height": HEIGHT,
    }


def cloud(count: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(count, 3)).astype(np.float32)
    return {"points": points, "colours": generator.integers(0, 256, (count, 3), dtype=np.uint8)}


def test_colmap_opens_the_model(rig: dict[str, Any], tmp_path: Path) -> None:
    points = cloud(50)
    write_colmap_text(tmp_path / "sparse" / "0", **rig, **points)
    model = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
    assert (model.num_cameras(), model.num_images(), model.num_points3D()) == (3, 3, 50)
    for place, name in enumerate(NAMES):
        image = model.find_image_with_name(name)
        camera = model.cameras[image.camera_id]
        np.testing.assert_allclose(image.cam_from_world().matrix(), rig["extrinsics"][place], atol=1e-6)
        k = rig["intrinsics"][place]
        assert camera.model_name == "PINHOLE"
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        assert (camera.focal_length_x, camera.focal_length_y) == (k[0, 0].item(), k[1, 1].item())
        assert (camera.principal_point_x, camera.principal_point_y) == (k[0, 2].item() + 0.5, k[1, 2].item() + 0.5)
    for number, point in model.points3D.items():
        np.testing.assert_array_equal(point.xyz.astype(np.float32), points["points"][number - 1])
        np.testing.assert_array_equal(point.color, points["colours"][number - 1])
        assert point.track.length() == 0


def test_colmap_projects_points_half_a_pixel_further(rig: dict[str, Any], tmp_path: Path) -> None:
    write_colmap_text(tmp_path, **rig, **cloud(1))
    model = pycolmap.Reconstruction(tmp_path)
    depth = torch.full((HEIGHT, WIDTH), 4.0, dtype=torch.float64)
    points = camera_to_world(unproject(depth, rig["intrinsics"][1])[7, 11][None], rig["extrinsics"][1])
    pixel = model.find_image_with_name(NAMES[1]).project_point(points[0].numpy())
    assert pixel is not None
    np.testing.assert_allclose(pixel, [11.5, 7.5], atol=1e-6)  # column 11, row 7 is centred there


def test_a_part_of_many_points_is_written(rig: dict[str, Any], tmp_path: Path) -> None:
    points = cloud(300)
    write_colmap_text(tmp_path, **rig, **points, max_points=100)
    model = pycolmap.Reconstruction(tmp_path)
    written = {tuple(point.xyz.astype(np.float32)) for point in model.points3D.values()}
    assert len(written) == 100
    assert written <= {tuple(point) for point in points["points"]}


def test_a_model_without_points_opens(rig: dict[str, Any], tmp_path: Path) -> None:
    write_colmap_text(tmp_path, **rig, **cloud(0))
    assert pycolmap.Reconstruction(tmp_path).num_images() == 3


def test_images_may_differ_in_size(rig: dict[str, Any], tmp_path: Path) -> None:
    write_colmap_text(tmp_path, **{**rig, "width": [40, 41, 42]}, **cloud(1))
    model = pycolmap.Reconstruction(tmp_path)
    assert [model.cameras[number].width for number in (1, 2, 3)] == [40, 41, 42]


def test_another_model_in_the_folder_is_refused(rig: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "cameras.bin").touch()
    with pytest.raises(InputError, match=r"cameras\.bin"):
        write_colmap_text(tmp_path, **rig, **cloud(1))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"names": ["a b.jpg", "c", "d"]}, "a b.jpg"),
        ({"names": ["a", "a", "b"]}, "same name"),
        ({"names": ["a"]}, "1 names"),
        ({"height": [3, 4]}, "2 image sizes"),
        ({"extrinsics": torch.full((3, 3, 4), torch.nan)}, "not finite"),
        ({"intrinsics": torch.tensor([[9.0, 0.1, 4], [0, 9, 4], [0, 0, 1]]).expand(3, 3, 3)}, "skew"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    rig: dict[str, Any], tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        write_colmap_text(tmp_path / "model", **{**rig, **change}, **cloud(1))
    assert not (tmp_path / "model").exists()


def test_cameras_read_back_from_json(rig: dict[str, Any], tmp_path: Path) -> None:
    write_cameras_json(tmp_path / "cameras.json", **rig, unit="metres")
    content = json.loads((tmp_path / "cameras.json").read_text())
    assert content["conventions"]["unit_of_length"] == "metres"
    assert "world to camera" in content["conventions"]["extrinsics"]
    cameras = content["cameras"]
    assert [(camera["name"], camera["width"], camera["height"]) for camera in cameras] == [
        (name, WIDTH, HEIGHT) for name in NAMES
    ]
    for name in ("extrinsics", "intrinsics"):
        np.testing.assert_array_equal([camera[name] for camera in cameras], rig[name])
