"""Crop, resize and flip update cameras exactly: a point projects to the pixel to which the transform moves it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from datamodules.aerial_megadepth.transforms import (
    View,
    change_colours,
    crop_view,
    fit_view,
    flip_view,
    natural_aspect,
    principal_point,
    resize_view,
)
from datamodules.transforms import Window
from geometry.cameras import camera_to_world, project, unproject, world_to_camera

Array = NDArray[np.float64]
Move = Callable[[Tensor], Tensor]
SIZE = (120, 160)
MIRROR = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))


def rotation(axis: tuple[float, float, float], degrees: float) -> Array:
    """Rotation about a unit axis, by Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    matrix: Array = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


def plane_view(extrinsics: Array, intrinsics: Array, size: tuple[int, int] = SIZE) -> View:
    """A camera over the plane n·X = 40, each pixel with its exact depth and a random colour."""
    normal, offset = np.array([0.1, -0.2, 1.0]), 40.0
    rays = unproject(torch.ones(size, dtype=torch.float64), torch.from_numpy(intrinsics)).numpy()
    world_rays, centre = rays @ extrinsics[:, :3], -extrinsics[:, :3].T @ extrinsics[:, 3]
    depth = (offset - centre @ normal) / (world_rays @ normal)
    assert (depth > 0).all()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    return View(image, depth.astype(np.float32), intrinsics, extrinsics)


def pair() -> list[View]:
    """Two views of the plane, with different principal points off the middle, and skew in one."""
    first = np.concatenate([rotation((1, 2, 3), 8), [[1.0], [-2], [3]]], axis=1)
    second = np.concatenate([rotation((3, -1, 1), 12), [[-2.0], [1], [1]]], axis=1)
    k1 = np.array([[150.0, 0, 75.3], [0, 155, 62.8], [0, 0, 1]])
    k2 = np.array([[170.0, 0.7, 83.1], [0, 165, 55.4], [0, 0, 1]])
    return [plane_view(first, k1), plane_view(second, k2)]


def camera(view: View) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(view.intrinsics), torch.from_numpy(view.extrinsics)


def pixels_of(points: Tensor, view: View) -> Tensor:
    intrinsics, extrinsics = camera(view)
    return project(world_to_camera(points, extrinsics), intrinsics)


def points_of(view: View) -> Tensor:
    """World points of all pixels."""
    intrinsics, extrinsics = camera(view)
    return camera_to_world(unproject(torch.from_numpy(view.depth.copy()).double(), intrinsics), extrinsics)


def moved(scale: tuple[float, float] = (1.0, 1.0), left: float = 0.0, top: float = 0.0) -> Move:
    def move(pixels: Tensor) -> Tensor:
        start = torch.tensor([left, top], dtype=torch.float64)
        factor = torch.tensor(scale, dtype=torch.float64)
        return (pixels - start + 0.5) * factor - 0.5

    return move


def mirrored(width: int) -> Move:
    return lambda pixels: torch.stack([width - 1 - pixels[..., 0], pixels[..., 1]], dim=-1)


TRANSFORMS: dict[str, tuple[Callable[[View], View], Move, bool]] = {
    "crop": (lambda view: crop_view(view, Window(11, 23, 90, 101)), moved(left=23, top=11), False),
    "shrink": (lambda view: resize_view(view, 56, 70), moved((70 / 160, 56 / 120)), False),
    "enlarge": (lambda view: resize_view(view, 250, 330), moved((330 / 160, 250 / 120)), False),
    "flip": (flip_view, mirrored(160), True),
    "all": (
        lambda view: flip_view(resize_view(crop_view(view, Window(3, 8, 100, 140)), 70, 84)),
        lambda pixels: mirrored(84)(moved((84 / 140, 70 / 100), 8, 3)(pixels)),
        True,
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_point_seen_in_both_views_stays_where_the_transform_puts_it(name: str) -> None:
    transform, move, mirrors = TRANSFORMS[name]
    before = pair()
    after = [transform(view) for view in before]
    points = points_of(before[0])[::7, ::9].reshape(-1, 3)
    transformed = points @ MIRROR if mirrors else points
    for old, new in zip(before, after, strict=True):
        error = (pixels_of(transformed, new) - move(pixels_of(points, old))).norm(dim=-1)
        assert error.max() < 1e-6


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_world_of_one_view_is_that_of_the_other(name: str) -> None:
    """Depth is transformed too: a pixel of view 1, unprojected into the world, lies on the plane seen by view 2."""
    transform, _, mirrors = TRANSFORMS[name]
    first, second = (transform(view) for view in pair())
    points = points_of(first)
    unmirrored = points @ MIRROR if mirrors else points
    distance = unmirrored @ torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64) - 40
    depth_of_a_pixel = np.abs(
        np.diff(first.depth, axis=1)
    ).max()  # depth of the nearest pixel is off by half a source pixel
    assert distance.abs().max() < (1e-4 if name in ("crop", "flip") else 2 * depth_of_a_pixel)
    own = project(unproject(torch.from_numpy(second.depth.copy()).double(), camera(second)[0]), camera(second)[0])
    v, u = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in second.size), indexing="ij")
    assert_close(own, torch.stack([u, v], dim=-1), atol=1e-9, rtol=0)


def test_pixels_move_with_the_image() -> None:
    """A bright spot is found where its pixel is expected."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[40:48, 60:72] = 255
    spot = torch.tensor([65.5, 43.5], dtype=torch.float64)
    view = View(image, image[..., 0].astype(np.float32), np.eye(3), np.eye(3, 4))
    for transform, move, _ in TRANSFORMS.values():
        new = transform(view)
        weights = torch.from_numpy(new.image[..., 0].astype(np.float64))
        v, u = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in new.size), indexing="ij")
        found = torch.stack([(u * weights).sum(), (v * weights).sum()]) / weights.sum()
        assert (found - move(spot)).abs().max() < 0.05
        depth = torch.from_numpy(new.depth.copy()).double()
        nearest = torch.stack([(u * depth).sum(), (v * depth).sum()]) / depth.sum()
        assert (nearest - move(spot)).abs().max() < 0.75  # depth takes whole source pixels


def test_a_flip_keeps_rotations_proper_and_undoes_itself() -> None:
    for view in pair():
        once, twice = flip_view(view), flip_view(flip_view(view))
        turn = once.extrinsics[:, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        np.testing.assert_array_equal(once.image, view.image[:, ::-1])
        np.testing.assert_allclose(twice.intrinsics, view.intrinsics)
        np.testing.assert_allclose(twice.extrinsics, view.extrinsics)


def test_fit_centres_the_principal_point() -> None:
    for view in pair():
        new = fit_view(view, 98, 126)
        assert new.size == new.depth.shape == (98, 126)
        u, v = principal_point(new)
        assert u == pytest.approx((126 - 1) / 2, abs=0.6)
        assert v == pytest.approx((98 - 1) / 2, abs=0.6)
        assert new.intrinsics[0, 0] / new.intrinsics[1, 1] == pytest.approx(
            view.intrinsics[0, 0] / view.intrinsics[1, 1], rel=0.02
        )


def test_natural_aspect_lies_between_the_views() -> None:
    wide, tall = (View(np.zeros((*s, 3), np.uint8), np.zeros(s, np.float32), k, np.eye(3, 4)) for s, k in SHAPES)
    assert natural_aspect([wide]) == pytest.approx(0.5)
    assert natural_aspect([wide, tall]) == pytest.approx(1)


def intrinsics_of(height: int, width: int) -> Array:
    return np.array([[90.0, 0, (width - 1) / 2], [0, 90, (height - 1) / 2], [0, 0, 1]])


SHAPES = [((50, 100), intrinsics_of(50, 100)), ((100, 50), intrinsics_of(100, 50))]


def test_colours() -> None:
    image = np.random.default_rng(1).integers(40, 200, (8, 9, 3)).astype(np.uint8)
    np.testing.assert_array_equal(change_colours(image, 1, 1, 1), image)
    np.testing.assert_allclose(change_colours(image, 1.2, 1, 1), image * 1.2, atol=1)
    assert np.ptp(change_colours(image, 1, 1, 0).astype(int), axis=-1).max() <= 1
    assert change_colours(image, 1, 0, 1).std() < 1
    assert change_colours(image, 1, 2, 1).std() > image.std() * 1.5
