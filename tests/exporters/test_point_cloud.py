from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from exporters.point_cloud import point_cloud, write_glb, write_ply
from geometry.cameras import invert_extrinsics, project, world_to_camera

VIEWS, HEIGHT, WIDTH = 2, 6, 8


@pytest.fixture
def scene() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    turn = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [[0, 0, 1, 0.5], [0, 1, 0, 2], [-1, 0, 0, 3]]])
    return {
        "images": torch.rand(VIEWS, 3, HEIGHT, WIDTH, generator=generator),
        "depth": 2 + torch.rand(VIEWS, HEIGHT, WIDTH, generator=generator),
        "confidence": 1 + torch.rand(VIEWS, HEIGHT, WIDTH, generator=generator),
        "extrinsics": turn,
        "intrinsics": torch.tensor([[7.0, 0, 3.5], [0, 9, 2.5], [0, 0, 1]]).expand(VIEWS, 3, 3),
    }


def test_points_project_onto_the_pixels_they_come_from(scene: dict[str, Any]) -> None:
    points, colours = point_cloud(**scene, confidence_quantile=0)
    assert points.dtype == np.float32
    assert colours.dtype == np.uint8
    world = torch.from_numpy(points).view(VIEWS, HEIGHT, WIDTH, 3)
    in_camera = world_to_camera(world, scene["extrinsics"])
    pixels = project(in_camera, scene["intrinsics"])
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    torch.testing.assert_close(pixels, torch.stack([u, v], -1).float().expand_as(pixels), rtol=0, atol=1e-4)
    torch.testing.assert_close(in_camera[..., 2], scene["depth"])
    expected = (scene["images"].permute(0, 2, 3, 1) * 255).round().byte()
    assert (colours.reshape(expected.shape) == expected.numpy()).all()


def test_the_least_confident_fifth_is_left_out(scene: dict[str, Any]) -> None:
    points, _ = point_cloud(**scene)
    kept = scene["confidence"] >= scene["confidence"].quantile(0.2)
    every, _ = point_cloud(**{**scene, "confidence": None})
    np.testing.assert_array_equal(points, every[kept.flatten().numpy()])
    assert len(points) == pytest.approx(0.8 * len(every), abs=1)


def test_only_pixels_with_depth_and_confidence_count(scene: dict[str, Any]) -> None:
    scene["depth"][0, 0, :4] = torch.tensor([0, -1, torch.nan, torch.inf])
    scene["confidence"][1, 0, 0] = torch.nan
    points, _ = point_cloud(**scene, confidence_quantile=0)
    assert len(points) == VIEWS * HEIGHT * WIDTH - 5
    assert np.isfinite(points).all()


def test_equal_confidence_keeps_everything(scene: dict[str, Any]) -> None:
    points, _ = point_cloud(**{**scene, "confidence": torch.ones_like(scene["depth"])})
    assert len(points) == VIEWS * HEIGHT * WIDTH


def test_the_choice_among_too_many_points_repeats(scene: dict[str, Any]) -> None:
    chosen, colours = point_cloud(**scene, max_points=10)
    assert chosen.shape == colours.shape == (10, 3)
    np.testing.assert_array_equal(chosen, point_cloud(**scene, max_points=10)[0])
    every, _ = point_cloud(**scene)
    assert {tuple(point) for point in chosen} <= {tuple(point) for point in every}


def test_no_valid_pixel_makes_an_empty_cloud_that_no_file_holds(scene: dict[str, Any], tmp_path: Path) -> None:
    points, colours = point_cloud(**{**scene, "depth": torch.zeros_like(scene["depth"])})
    assert points.shape == colours.shape == (0, 3)
    with pytest.raises(ValueError, match="N ≥ 1"):
        write_ply(tmp_path / "cloud.ply", points, colours)
    assert not list(tmp_path.iterdir())


def test_arrays_and_half_precision_are_accepted(scene: dict[str, Any]) -> None:
    arrays = {name: tensor.numpy() for name, tensor in scene.items()}
    np.testing.assert_array_equal(point_cloud(**arrays)[0], point_cloud(**scene)[0])
    halves = {name: tensor.bfloat16().requires_grad_() for name, tensor in scene.items()}
    assert len(point_cloud(**halves)[0])


def test_shapes_that_do_not_fit_are_named(scene: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="extrinsics"):
        point_cloud(**{**scene, "extrinsics": scene["extrinsics"][:1]})


def test_ply_reads_back_as_binary(scene: dict[str, Any], tmp_path: Path) -> None:
    points, colours = point_cloud(**scene)
    write_ply(tmp_path / "deep" / "cloud.ply", points, colours)
    assert b"format binary_little_endian 1.0" in (tmp_path / "deep" / "cloud.ply").read_bytes()[:200]
    cloud = trimesh.load(tmp_path / "deep" / "cloud.ply")
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_array_equal(np.asarray(cloud.vertices, np.float32), points)
    np.testing.assert_array_equal(np.asarray(cloud.colors)[:, :3], colours)


def test_glb_reads_back_with_y_up(scene: dict[str, Any], tmp_path: Path) -> None:
    points, colours = point_cloud(**scene)
    write_glb(tmp_path / "cloud.glb", points, colours)
    (cloud,) = trimesh.load_scene(tmp_path / "cloud.glb").dump()
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_array_equal(np.asarray(cloud.vertices, np.float32), points * [1, -1, -1])
    np.testing.assert_array_equal(np.asarray(cloud.colors)[:, :3], colours)
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.glb"]


def test_a_point_in_front_of_the_second_camera_is_there(scene: dict[str, Any]) -> None:
    points, _ = point_cloud(**scene, confidence_quantile=0)
    centre = invert_extrinsics(scene["extrinsics"])[1, :, 3].numpy()
    forward = scene["extrinsics"][1, 2, :3].numpy()  # the camera's z axis in the world
    ahead = (points[HEIGHT * WIDTH :] - centre) @ forward
    np.testing.assert_allclose(ahead, scene["depth"][1].flatten(), rtol=1e-5)
