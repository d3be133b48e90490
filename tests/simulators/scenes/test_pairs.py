"""Simulated pairs of general scenes: repeatable, and geometrically and photometrically consistent."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from simulators.city.solids import Array
from simulators.scenes.cameras import MAX_TURN, MIN_OVERLAP, CameraPair, draw_cameras
from simulators.scenes.layout import KINDS, Kind, Scene, draw_scene
from simulators.scenes.materials import CHECKER, MATERIAL, PLAIN, colours, noise_table
from simulators.scenes.pairs import TEST, TRAIN, ScenePair, scene_pair
from simulators.scenes.rendering import trace_scene


@pytest.fixture(scope="module")
def pairs() -> dict[Kind, ScenePair]:
    return {kind: scene_pair(1, TRAIN, number, 96, 72) for number, kind in enumerate(KINDS)}


def drawn(kind: Kind) -> tuple[Scene, CameraPair]:
    """The first scene of this kind, by seed, in which two cameras see the same place."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = draw_scene(rng, kind)
        with suppress(RuntimeError):
            return scene, draw_cameras(scene, rng)
    raise AssertionError(f"no {kind} out of 20 has a pair of cameras")


def reprojected(pair: ScenePair, source: int) -> tuple[Array, Array, Array]:
    """Project a view into the other: pixels (N, 2) there, expected depths (N,) and the source's colours (N, 3)."""
    height, width = pair.depths.shape[1:]
    v, u = np.nonzero(pair.depths[source])
    depth = pair.depths[source, v, u].astype(float)
    rays = np.linalg.inv(pair.intrinsics[source]) @ np.stack([u, v, np.ones_like(u)])
    world = pair.cam2world[source] @ np.concatenate([rays * depth, np.ones((1, len(u)))])
    other = (np.linalg.inv(pair.cam2world[1 - source]) @ world)[:3]
    ahead = other[2] > 0
    pixel = (pair.intrinsics[1 - source] @ other)[:2] / np.where(ahead, other[2], 1)
    pixel = np.round(pixel).astype(int)
    inside = ahead & (pixel >= 0).all(0) & (pixel[0] < width) & (pixel[1] < height)
    return pixel[:, inside].T, other[2, inside], pair.images[source, v, u][inside].astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_views_agree_in_depth_and_colour(kind: Kind, pairs: dict[Kind, ScenePair]) -> None:
    pair = pairs[kind]
    for source in (0, 1):
        pixel, expected, colour = reprojected(pair, source)
        depth = pair.depths[1 - source, pixel[:, 1], pixel[:, 0]]
        agree = np.abs(depth / expected - 1) < 0.05
        assert agree.sum() > 0.8 * MIN_OVERLAP * (pair.depths[source] > 0).sum()
        there = pair.images[1 - source, pixel[:, 1], pixel[:, 0]].astype(float)
        same = np.abs(there - colour)[agree].mean()
        shuffled = np.abs(there - np.random.default_rng(0).permutation(colour))[agree].mean()
        assert same < 0.5 * shuffled


def test_a_pair_depends_on_seed_split_and_number_alone(pairs: dict[Kind, ScenePair]) -> None:
    again = scene_pair(1, TRAIN, 0, 96, 72)
    assert (again.images == pairs[KINDS[0]].images).all()
    assert (again.depths == pairs[KINDS[0]].depths).all()
    for other in (scene_pair(2, TRAIN, 0, 96, 72), scene_pair(1, TEST, 0, 96, 72), scene_pair(1, TRAIN, 4, 96, 72)):
        assert (other.images != again.images).mean() > 0.5


def test_a_room_is_closed_and_the_outdoors_is_not(pairs: dict[Kind, ScenePair]) -> None:
    assert (pairs["room"].depths > 0).all()
    sky = [(scene_pair(1, TRAIN, number, 32, 24).depths == 0).mean() for number in (1, 5, 9)]
    assert 0 < np.mean(sky) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_cameras_keep_their_limits(kind: Kind) -> None:
    scene, pair = drawn(kind)
    assert scene.kind == kind
    assert pair.overlap >= MIN_OVERLAP
    headings = [np.degrees(np.arctan2(*camera.cam2world[1::-1, 2])) for camera in (pair.first, pair.second)]
    assert abs((headings[1] - headings[0] + 180) % 360 - 180) <= MAX_TURN + 12
    assert pair.first.cam2world[2, 2] < pair.second.cam2world[2, 2] + 0.7
    if scene.room is not None:
        for camera in (pair.first, pair.second):
            assert (np.abs(camera.position[:2]) < scene.room[:2]).all()
            assert 0 < camera.position[2] < scene.room[2]


def test_rays_end_on_the_terrain() -> None:
    scene, pair = drawn("terrain")
    assert scene.terrain is not None
    camera = pair.first
    hits = trace_scene(scene, camera, 48, 36)
    ground = hits.surface == 0
    points = camera.position + hits.directions()[ground] / hits.inverse_depth[ground][:, None]
    height = scene.terrain.height(points[:, 0], points[:, 1])
    assert np.quantile(np.abs(points[:, 2] - height), 0.95) < 0.01 * scene.radius
    assert np.ptp(height) > 0.01 * scene.radius


def test_noise_has_unit_variance_and_no_seam() -> None:
    table = noise_table()
    assert table.mean() == pytest.approx(0, abs=1e-9)
    assert table.std() == pytest.approx(1)
    steps = np.abs(np.diff(table, axis=0)).mean()
    assert np.abs(table[0] - table[-1]).mean() < 1.5 * steps


def test_patterns_finer_than_a_pixel_show_their_mean() -> None:
    black, white = np.zeros(3), np.ones(3)
    material = np.array([(black, white, CHECKER, (1.0, 1.0), 1.0, 0.0, 0.0)] * 400, dtype=MATERIAL)
    u, v = np.random.default_rng(0).uniform(0, 50, (2, 400))
    sharp = colours(material, u, v, np.full(400, 0.01))
    assert set(np.unique(sharp)) == {0.0, 1.0}
    assert ((np.floor(u) + np.floor(v)) % 2 == 0).tolist() == (sharp[:, 0] == 1).tolist()
    assert colours(material, u, v, np.full(400, 10.0)) == pytest.approx(0.5)
    material["pattern"] = PLAIN
    assert (colours(material, u, v, np.full(400, 0.01)) == 0).all()
