from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from geometry.cameras import camera_to_world, invert_extrinsics, project, relative_pose, unproject, world_to_camera
from geometry.rotations import quaternion_to_matrix

FIXTURE = Path(__file__).parents[1] / "parity" / "vggt_losses.safetensors"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cameras(*leading: int, seed: int = 0) -> Tensor:
    rotations = quaternion_to_matrix(normal(*leading, 4, seed=seed))
    return torch.cat([rotations, normal(*leading, 3, 1, seed=seed + 1)], dim=-1)


INTRINSICS = torch.tensor([[50.0, 1.5, 3.2], [0, 60, 2.1], [0, 0, 1]], dtype=torch.float64)


def test_published_points_are_reproduced() -> None:
    fixture = load_file(FIXTURE)
    points = unproject(fixture["depths"], fixture["intrinsics"])
    torch.testing.assert_close(points, fixture["cam_points"], rtol=1e-4, atol=1e-5)
    world = camera_to_world(points, fixture["extrinsics"])
    torch.testing.assert_close(world, fixture["world_points"], rtol=1e-4, atol=1e-5)


def test_the_first_pixel_has_its_centre_at_zero() -> None:
    k = torch.tensor([[10.0, 0, 0], [0, 20, 0], [0, 0, 1]])
    points = unproject(torch.full((3, 4), 2.0), k)
    assert points[0, 0].tolist() == [0, 0, 2]
    assert points[1, 3].tolist() == pytest.approx([2 * 3 / 10, 2 * 1 / 20, 2])  # column 3 is x, row 1 is y


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_unprojecting_then_projecting_gives_the_pixel_back(leading: tuple[int, ...]) -> None:
    depth = 1 + normal(*leading, 5, 7).abs()
    intrinsics = INTRINSICS.expand(*leading, 3, 3)
    pixels = project(unproject(depth, intrinsics), intrinsics)
    v, u = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    expected = torch.stack([u, v], dim=-1).double().expand(*leading, 5, 7, 2)
    torch.testing.assert_close(pixels, expected)


@pytest.mark.parametrize("points", [(2, 3, 6, 3), (2, 3, 4, 5, 3), (2, 3, 3)])
def test_world_and_camera_are_inverse(points: tuple[int, ...]) -> None:
    extrinsics, world = cameras(2, 3), normal(*points, seed=5)
    moved = world_to_camera(world, extrinsics)
    torch.testing.assert_close(camera_to_world(moved, extrinsics), world)
    by_hand = extrinsics[1, 2, :, :3] @ world[1, 2].reshape(-1, 3)[-1] + extrinsics[1, 2, :, 3]
    torch.testing.assert_close(moved[1, 2].reshape(-1, 3)[-1], by_hand)


def test_one_camera_moves_the_points_of_many() -> None:
    extrinsics, world = cameras(2, 1), normal(2, 3, 4, 5, 3)
    torch.testing.assert_close(
        world_to_camera(world, extrinsics), world_to_camera(world, extrinsics.expand(2, 3, 3, 4))
    )


def test_inverting_is_a_matrix_inverse() -> None:
    extrinsics = cameras(2, 3)
    last = torch.tensor([0.0, 0, 0, 1]).double().expand(2, 3, 1, 4)
    inverse = torch.linalg.inv(torch.cat([extrinsics, last], dim=-2))[..., :3, :]
    torch.testing.assert_close(invert_extrinsics(extrinsics), inverse)


def test_relative_pose_takes_points_of_one_camera_to_the_other() -> None:
    a, b, world = cameras(4), cameras(4, seed=7), normal(4, 6, 3, seed=9)
    torch.testing.assert_close(
        world_to_camera(world_to_camera(world, a), relative_pose(a, b)), world_to_camera(world, b)
    )


def test_autocast_and_low_matmul_precision_do_not_round_cameras() -> None:
    a, b, far = cameras(4).float(), cameras(4, seed=7).float(), 1000 * normal(4, 6, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        moved, relative, inverse = world_to_camera(far, a), relative_pose(a, b), invert_extrinsics(a)
    assert torch.equal(moved, world_to_camera(far, a))
    assert torch.equal(relative, relative_pose(a, b))
    assert torch.equal(inverse, invert_extrinsics(a))


def test_gradients_agree_with_finite_differences() -> None:
    extrinsics, depth = cameras(2).requires_grad_(), (2 + normal(2, 2, 3)).requires_grad_()
    intrinsics = INTRINSICS.expand(2, 3, 3).clone().requires_grad_()

    def seen_from_the_other(extrinsics: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
        world = camera_to_world(unproject(depth, intrinsics), extrinsics)
        return world_to_camera(world, relative_pose(extrinsics.flip(0), extrinsics))

    assert torch.autograd.gradcheck(seen_from_the_other, (extrinsics, depth, intrinsics))
    points = (normal(2, 3, 3) + torch.tensor([0, 0, 5.0])).requires_grad_()
    assert torch.autograd.gradcheck(project, (points, intrinsics))
