"""The simulated city: exact geometry, textures fixed to the world, and cameras that see the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import simulators.city.cameras
from geometry.cameras import camera_to_world, invert_extrinsics, project, unproject, world_to_camera
from simulators.city.cameras import (
    MIN_AERIAL_OVERLAP,
    MIN_OVERLAP,
    Camera,
    CameraPair,
    City,
    Rendering,
    draw_cameras,
    draw_city,
    overlap,
    render,
)
from simulators.city.rendering import points_of, shadowed
from simulators.city.solids import Array, Look, Solid, house, prism
from simulators.city.tracing import GROUND, trace

Scene = tuple[City, CameraPair, dict[str, Rendering]]
SIZE = 128, 96
SKY, BUILDING, TREE, CAR, GROUND_LABELS = 2, 1, 4, 20, (6, 9, 11)
RED, GREEN = (0.9, 0.05, 0.05), (0.05, 0.8, 0.05)


@pytest.fixture(scope="module", params=[0, 1])
def scene(request: pytest.FixtureRequest) -> Scene:
    rng = np.random.default_rng([0, request.param])
    city = draw_city(rng)
    pair = draw_cameras(city, rng)
    return city, pair, {view: render(city, getattr(pair, view), *SIZE) for view in ("aerial", "ground")}


def tensors(camera: Camera) -> tuple[Tensor, Tensor]:
    """Intrinsics (3, 3) and extrinsics (3, 4) for the functions of `geometry.cameras`."""
    extrinsics = invert_extrinsics(torch.from_numpy(camera.cam2world[:3]))
    return torch.from_numpy(camera.intrinsics(*SIZE)), extrinsics


def world_points(depth: NDArray[np.float32], camera: Camera) -> Array:
    """(H, W, 3), by other code than the renderer's."""
    intrinsics, extrinsics = tensors(camera)
    return camera_to_world(unproject(torch.from_numpy(depth).double(), intrinsics), extrinsics).numpy()


def plain_city(solids: Sequence[Solid], sun: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> City:
    far = np.array([[-9e3, -8.9e3], [8.9e3, 9e3]])
    none = np.zeros((0, 6)), np.zeros((0, 3))
    direction = np.array(sun) / np.linalg.norm(sun)
    return City(tuple(solids), *none, far, far, np.ones((1, 1), bool), direction, np.full((256, 256), 0.5))


def nearest_hit(city: City, origin: Array, ray: Array) -> float:
    """Distance in lengths of ``ray`` to the first surface, by clipping the ray at all planes; inf for none."""
    best = -origin[2] / ray[2] if ray[2] < 0 else np.inf
    planes = [list(range(len(solid.offsets))) for solid in city.solids]
    planes = [(numbers + numbers[:1] * 8)[:8] for numbers in planes]  # repeating a plane changes nothing
    normals = np.array([solid.normals[numbers] for solid, numbers in zip(city.solids, planes, strict=True)])
    offsets = np.array([solid.offsets[numbers] for solid, numbers in zip(city.solids, planes, strict=True)])
    rate, gap = normals @ ray, offsets - normals @ origin
    cut = np.where(rate == 0, np.where(gap < 0, np.inf, -np.inf), gap / np.where(rate == 0, 1, rate))
    enter = np.where(rate <= 0, cut, -np.inf).max(axis=1)
    leave = np.where(rate > 0, cut, np.inf).min(axis=1)
    best = min(best, enter[(enter > 0) & (enter < leave)].min(initial=np.inf))
    for crown in city.crowns:
        away, turned = (origin - crown[:3]) / crown[3:], ray / crown[3:]
        square, half, rest = turned @ turned, away @ turned, away @ away - 1
        if half < 0 < rest and half**2 > square * rest:
            best = min(best, (-half - np.sqrt(half**2 - square * rest)) / square)
    return float(best)


@pytest.mark.parametrize("view", ["aerial", "ground"])
def test_points_lie_on_the_surfaces_of_their_labels(scene: Scene, view: str) -> None:
    city, pair, renderings = scene
    rendering = renderings[view]
    points = world_points(rendering.depth, getattr(pair, view))
    labels = rendering.labels
    assert np.abs(points[np.isin(labels, GROUND_LABELS)][:, 2]).max() < 1e-3
    assert set(np.unique(labels)) <= {SKY, BUILDING, TREE, CAR, *GROUND_LABELS}
    for label in (BUILDING, TREE, CAR):
        found = points[labels == label]
        found = found[:: max(1, len(found) // 300)]
        outside = [
            (found @ solid.normals.T - solid.offsets).max(axis=1) for solid in city.solids if solid.look.label == label
        ]
        if label == TREE:
            away = [(found - crown[:3]) / crown[3:] for crown in city.crowns]
            outside += [np.linalg.norm(a, axis=1) - 1 for a in away]
        assert np.abs(outside).min(axis=0).max(initial=0) < 1e-3


@pytest.mark.parametrize("view", ["aerial", "ground"])
def test_depth_is_that_of_the_first_surface(scene: Scene, view: str) -> None:
    city, pair, renderings = scene
    camera, depth = getattr(pair, view), renderings[view].depth
    rng = np.random.default_rng(3)
    for u, v in zip(rng.integers(SIZE[0], size=25), rng.integers(SIZE[1], size=25), strict=True):
        ray = camera.cam2world[:3, :3] @ np.linalg.solve(camera.intrinsics(*SIZE), [u, v, 1.0])
        nearest = nearest_hit(city, camera.position, ray)
        assert depth[v, u] == pytest.approx(nearest if nearest < 2000 else 0.0, rel=1e-5)


def test_sky_has_no_depth(scene: Scene) -> None:
    for rendering in scene[2].values():
        np.testing.assert_array_equal(rendering.depth == 0, rendering.labels == SKY)
        assert rendering.depth.dtype == np.float32
        assert rendering.labels.dtype == rendering.image.dtype == np.uint8
        assert rendering.image.std() > 25  # contrast
    assert (scene[2]["ground"].labels == SKY)[: SIZE[1] // 4].any()


def test_cameras_are_rigid_and_where_they_should_be(scene: Scene) -> None:
    _, pair, _ = scene
    for camera in (pair.aerial, pair.ground):
        rotation = camera.cam2world[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_array_equal(camera.cam2world[3], [0, 0, 0, 1])
        assert rotation[2, 1] < -0.4  # the image's down is the world's down
        np.testing.assert_allclose(camera.intrinsics(*SIZE)[:2, 2], [63.5, 47.5], atol=3)
    assert 100 <= pair.aerial.position[2] <= 250
    assert 1.6 <= pair.ground.position[2] <= 20


def shared_points(scene: Scene) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, Array]:
    """Points of the ground view on faces, their pixels in the aerial view, off its edges, and both views' hits."""
    city, pair, renderings = scene
    intrinsics, extrinsics = tensors(pair.aerial)
    below, above = trace(city, pair.ground, *SIZE), trace(city, pair.aerial, *SIZE)
    points = torch.from_numpy(world_points(renderings["ground"].depth, pair.ground))
    places = world_to_camera(points, extrinsics)
    pixels, z = project(places, intrinsics).numpy(), places[..., 2].numpy()
    faces = sum(len(solid.offsets) for solid in city.solids)
    v, u = np.nonzero((below.surface >= GROUND) & (below.surface <= faces) & (z > 1))
    inside = (pixels[v, u] >= 0).all(axis=1) & (pixels[v, u] < [SIZE[0] - 1, SIZE[1] - 1]).all(axis=1)
    v, u = v[inside], u[inside]
    left, upper = pixels[v, u].astype(int).T
    same = [above.surface[upper + j, left + i] == below.surface[v, u] for i in (0, 1) for j in (0, 1)]
    flat = np.all(same, axis=0)
    return v[flat], u[flat], pixels[v, u][flat], z[v, u][flat]


def bilinear(grid: NDArray[Any], pixels: Array) -> NDArray[Any]:
    left, upper = pixels.astype(int).T
    p, q = (pixels - np.stack([left, upper], axis=1)).T.reshape(2, -1, *[1] * (grid.ndim - 2))
    above = (1 - p) * grid[upper, left] + p * grid[upper, left + 1]
    below = (1 - p) * grid[upper + 1, left] + p * grid[upper + 1, left + 1]
    return np.asarray((1 - q) * above + q * below)


def test_both_views_agree_about_where_a_point_is(scene: Scene) -> None:
    _, _, renderings = scene
    _, _, pixels, z = shared_points(scene)
    assert len(pixels) > 500
    other = 1 / bilinear(1 / np.maximum(renderings["aerial"].depth, 1e-6).astype(np.float64), pixels)
    np.testing.assert_allclose(other, z, rtol=1e-5)  # inverse depth is linear within a face


def test_both_views_agree_about_the_colour_of_a_point(scene: Scene) -> None:
    _, _, renderings = scene
    v, u, pixels, _ = shared_points(scene)
    here = renderings["ground"].image[v, u].astype(float)
    there = bilinear(renderings["aerial"].image.astype(float), pixels)
    shuffled = np.random.default_rng(0).permutation(there)
    difference, by_chance = np.abs(here - there).mean(axis=1), np.abs(here - shuffled).mean(axis=1)
    assert np.median(difference) < 10
    assert difference.mean() < 0.6 * by_chance.mean()


@pytest.mark.slow
def test_texture_is_the_same_from_a_nearby_camera() -> None:
    city = draw_city(np.random.default_rng(5))
    cameras = [Camera.look(np.array([x, -150.0, 160.0]), 90.0, -45.0, 0.0, 50.0) for x in (0.0, 25.0)]
    views = [render(city, camera, *SIZE) for camera in cameras]
    intrinsics, extrinsics = tensors(cameras[1])
    points = torch.from_numpy(world_points(views[0].depth, cameras[0]))
    pixels = project(world_to_camera(points, extrinsics), intrinsics).numpy()
    inside = (pixels >= 0).all(axis=-1) & (pixels < [SIZE[0] - 1, SIZE[1] - 1]).all(axis=-1)
    inside &= np.isin(views[0].labels, GROUND_LABELS)
    there = bilinear(views[1].image.astype(float), pixels[inside])
    assert np.corrcoef(views[0].image[inside].ravel(), there.ravel())[0, 1] > 0.8
    assert np.median(np.abs(views[0].image[inside] - there)) < 8


def test_an_image_is_neither_mirrored_nor_upside_down() -> None:
    """Look north at a red block in the east, 10 m high, and a green one in the west, 20 m high."""
    red, green = Look(wall=RED, roof=RED), Look(wall=GREEN, roof=GREEN)
    city = plain_city([prism((10.0, 40.0), (4.0, 5.0), 0.0, 10.0, red), prism((-10.0, 40.0), (4.0, 5.0), 0, 20, green)])
    camera = Camera.look(np.array([0.0, 0.0, 2.0]), heading=90.0, pitch=0.0, roll=0.0, field_of_view=60.0)
    rendering = render(city, camera, *SIZE)
    colours = rendering.image.astype(int)
    reds, greens = colours[..., 0] - colours[..., 1] > 60, colours[..., 1] - colours[..., 0] > 60
    greens &= rendering.labels == BUILDING
    assert np.nonzero(reds)[1].min() > SIZE[0] / 2 > np.nonzero(greens)[1].max()
    assert np.nonzero(greens)[0].min() < np.nonzero(reds)[0].min() < SIZE[1] / 2
    assert (rendering.labels[0] == SKY).any()
    assert not (rendering.labels[-1] == SKY).any()
    front = rendering.depth[reds & (np.arange(SIZE[0]) > SIZE[0] * 0.72)]
    np.testing.assert_allclose(front, 35.0, rtol=1e-6)  # along the axis, the same over the whole wall
    focal = SIZE[0] / 2 / np.tan(np.radians(30))
    assert np.nonzero(reds)[1].max() == pytest.approx(63.5 + focal * 14 / 35, abs=1)
    assert np.nonzero(reds)[0].min() == pytest.approx(47.5 - focal * 8 / 35, abs=1)


def test_headings_go_from_east_to_north_and_roll_is_clockwise() -> None:
    east = Camera.look(np.zeros(3), 0.0, 0.0, 0.0, 60.0).cam2world[:3, :3]
    np.testing.assert_allclose(east.T, [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-12)
    up = Camera.look(np.zeros(3), 0.0, 30.0, 0.0, 60.0).cam2world[:3, 2]
    np.testing.assert_allclose(up, [np.cos(np.pi / 6), 0, 0.5], atol=1e-12)
    rolled = Camera.look(np.zeros(3), 0.0, 0.0, 10.0, 60.0).cam2world[:3, 0]
    assert rolled[2] < 0  # its right side hangs lower


def test_houses_have_their_eaves_and_ridge_where_asked() -> None:
    for hip in (False, True):
        built = house((5.0, -3.0), (6.0, 4.0), 0.3, 7.0, 2.0, hip, Look(wall=RED, roof=RED))
        city = plain_city([built])
        along = np.array([np.cos(0.3), np.sin(0.3), 0.0])
        across = np.array([-np.sin(0.3), np.cos(0.3), 0.0])
        middle, down = np.array([5.0, -3.0, 100.0]), np.array([0.0, 0.0, -1.0])
        assert 100 - nearest_hit(city, middle, down) == pytest.approx(9.0)
        assert 100 - nearest_hit(city, middle + 3.999999 * across, down) == pytest.approx(7.0, abs=1e-4)
        end = 100 - nearest_hit(city, middle + 5.999999 * along, down)
        assert end == pytest.approx(7.0 if hip else 9.0, abs=1e-4)


def test_shadows_fall_away_from_the_sun() -> None:
    city = plain_city([prism((0.0, 0.0), (5.0, 5.0), 0.0, 10.0, Look(wall=RED, roof=RED))], sun=(-1.0, 0.0, 1.0))
    points = np.array([[-6.0, 0, 0], [6.0, 0, 0], [14.9, 0, 0], [15.1, 0, 0], [6.0, 5.1, 0], [0, 0, 10.0], [-5, 0, 3]])
    np.testing.assert_array_equal(shadowed(city, points), [False, True, True, False, False, False, False])


def test_shadows_are_what_lies_on_the_way_to_the_sun(scene: Scene) -> None:
    city, pair, _ = scene
    points, _ = points_of(trace(city, pair.aerial, 40, 30), pair.aerial)
    points = points[points[:, 2] < 1e-6][::12]
    blocked = [np.isfinite(nearest_hit(city, point, city.sun)) for point in points]
    np.testing.assert_array_equal(shadowed(city, points), blocked)
    assert 0 < np.mean(blocked) < 1


@pytest.mark.slow
def test_overlap_agrees_with_casting_every_ray(scene: Scene) -> None:
    city, pair, _ = scene
    small = 16, 12
    below, above = trace(city, pair.ground, *small), trace(city, pair.aerial, 160, 120)
    measured = overlap(below, pair.ground, above, pair.aerial)
    points, _ = points_of(below, pair.ground)
    seen = []
    for point in points:
        pixel = pair.aerial.intrinsics(160, 120) @ pair.aerial.cam2world[:3, :3].T @ (point - pair.aerial.position)
        inside = pixel[2] > 0 and 0 <= pixel[0] / pixel[2] <= 159 and 0 <= pixel[1] / pixel[2] <= 119
        seen.append(inside and nearest_hit(city, pair.aerial.position, point - pair.aerial.position) > 1 - 1e-6)
    assert measured == pytest.approx(np.mean(seen), abs=0.06)
    assert pair.overlap == pytest.approx(np.mean(seen), abs=0.1)
    assert pair.overlap >= MIN_OVERLAP
    back = overlap(trace(city, pair.aerial, *SIZE), pair.aerial, trace(city, pair.ground, *SIZE), pair.ground)
    assert back > 0.75 * MIN_AERIAL_OVERLAP


def test_the_same_seed_gives_the_same_city_and_another_another() -> None:
    first, again, other = (draw_city(np.random.default_rng([seed, 4])) for seed in (0, 0, 1))
    assert len(first.solids) == len(again.solids)
    for a, b in zip(first.solids, again.solids, strict=True):
        np.testing.assert_array_equal(a.offsets, b.offsets)
        assert a.look == b.look
    np.testing.assert_array_equal(first.crowns, again.crowns)
    assert not np.array_equal(first.sun, other.sun)
    assert max(solid.height for solid in first.solids) < 100  # below any aerial camera


def test_a_city_without_an_open_street_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators.city.cameras, "MAX_TRIES", 9)
    city = draw_city(np.random.default_rng(0))
    wall = prism((0.0, 0.0), (900.0, 900.0), 0.0, 90.0, Look(wall=RED, roof=RED))
    with pytest.raises(RuntimeError, match="enough overlap"):
        draw_cameras(City(**{**vars(city), "solids": (wall,)}), np.random.default_rng(0))
