from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

import metrics.pose
from metrics.pose import PoseErrors
from tests.support.two_processes import results_of_two

SHARES = [f"{kind}_accuracy_{degrees}" for kind in ("rotation", "translation") for degrees in (5, 15, 30)]


def scenes(count: int, views: int = 4) -> list[Tensor]:
    """Predicted and true cameras (float32), off by some 10 degrees; the last scene is padding, and far off."""
    generator = np.random.default_rng(0)
    true = Rotation.random(count * views, random_state=generator)
    off = Rotation.from_rotvec(generator.normal(0, 12, (count * views, 3)), degrees=True)
    centres = generator.normal(0, 1, (count * views, 3, 1))
    cameras = []
    for rotation, place in (((off * true), centres + generator.normal(0, 0.2, centres.shape)), (true, centres)):
        matrix = rotation.as_matrix()
        extrinsics = np.concatenate([matrix, -matrix @ place], axis=2).reshape(count, views, 3, 4)
        focal = 50 * (1 + generator.random((count, views, 2)))
        intrinsics = np.zeros((count, views, 3, 3)) + np.eye(3)
        intrinsics[..., 0, 0], intrinsics[..., 1, 1] = focal[..., 0], focal[..., 1]
        cameras += [torch.from_numpy(extrinsics).float(), torch.from_numpy(intrinsics).float()]
    weights = torch.ones(count)
    weights[-1] = 0
    return [*cameras, weights]


def by_hand(cameras: list[Tensor], unsigned: bool) -> dict[str, float]:
    """Following VGGT's evaluation in numpy, one pair after the other."""
    extrinsics, intrinsics, true, true_intrinsics = (x.double().numpy() for x in cameras[:4])
    rotation, translation, focal = [], [], []
    for scene in range(len(true)):
        if cameras[4][scene] == 0:
            continue
        for i in range(true.shape[1]):
            for axis in (0, 1):
                f, g = (k[scene, i, axis, axis] for k in (intrinsics, true_intrinsics))
                focal.append(abs(f - g) / g)
        for i, j in combinations(range(true.shape[1]), 2):
            motions = []
            for world in (extrinsics, true):
                a, b = (np.vstack([world[scene, k], [0, 0, 0, 1]]) for k in (i, j))
                motions.append(b @ np.linalg.inv(a))
            p, t = motions
            relative = Rotation.from_matrix(p[:3, :3]) * Rotation.from_matrix(t[:3, :3]).inv()
            rotation.append(math.degrees(relative.magnitude()))
            cosine = p[:3, 3] @ t[:3, 3] / np.linalg.norm(p[:3, 3]) / np.linalg.norm(t[:3, 3])
            angle = math.degrees(math.acos(cosine))
            translation.append(min(angle, 180 - angle) if unsigned else angle)
    r, t = np.array(rotation), np.array(translation)
    histogram, _ = np.histogram(np.maximum(r, t), bins=np.arange(31))
    values = {"auc_30": np.mean(np.cumsum(histogram / len(r))), "focal_error": np.mean(focal)}
    for kind, errors in (("rotation", r), ("translation", t)):
        values[f"{kind}_error"] = errors.mean()
        for degrees in (5, 15, 30):
            values[f"{kind}_accuracy_{degrees}"] = np.mean(errors < degrees)
    return {name: float(value) for name, value in values.items()} | {"pairs": len(r), "pairs_without_baseline": 0}


def measured(cameras: list[Tensor], batch: int = 100, unsigned: bool = True) -> dict[str, float]:
    metric = PoseErrors(unsigned_translation=unsigned)
    for part in zip(*(x.split(batch) for x in cameras), strict=True):
        metric.update(*part)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("unsigned", [True, False])
@pytest.mark.parametrize("batch", [2, 100])
def test_measures_agree_with_their_definitions(batch: int, unsigned: bool) -> None:
    cameras = scenes(12)
    expected = by_hand(cameras, unsigned)
    assert expected["pairs"] == 66
    assert len({expected[name] for name in SHARES}) == 6  # all of them different: none hides another
    assert measured(cameras, batch, unsigned) == pytest.approx(expected, rel=1e-5)


def pair(degrees: float, first: tuple[float, ...], second: tuple[float, ...] = (0.0, 0, 0)) -> Tensor:
    """Two cameras (1, 2, 3, 4): one looking ahead, one turned about y; first and second are translations."""
    turned = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    views = [np.column_stack([rotation, t]) for rotation, t in ((np.eye(3), first), (turned, second))]
    return torch.from_numpy(np.stack(views))[None]


def compare(predicted: Tensor, true: Tensor, unsigned: bool = True) -> dict[str, float]:
    k = torch.diag(torch.tensor([50.0, 50, 1])).expand(len(true), true.shape[1], 3, 3)
    return measured([predicted, k, true, k, torch.ones(len(true))], unsigned=unsigned)


def test_a_perfect_prediction() -> None:
    _, _, true, intrinsics, weights = scenes(5)
    values = measured([true, intrinsics, true, intrinsics, weights])
    assert all(values[name] == 1 for name in (*SHARES, "auc_30"))
    assert values["rotation_error"] == values["focal_error"] == 0
    assert values["translation_error"] == pytest.approx(0, abs=1e-5)


def test_neither_the_world_nor_the_unit_matters() -> None:
    predicted, k, true, true_k, weights = scenes(5)
    expected = measured([predicted, k, true, true_k, weights])
    world = pair(77, (1.0, 2, 3))[0, 1].float()
    moved = torch.cat([predicted[..., :3] @ world[:, :3], predicted[..., :3] @ world[:, 3:] + predicted[..., 3:]], -1)
    moved[..., 3] *= 7
    assert measured([moved, k, true, true_k, weights]) == pytest.approx(expected, rel=1e-4)


def test_known_angles() -> None:
    true = pair(0, (0.0, 0, 0), (1.0, 0, 0))
    turned = compare(pair(10.5, (0.0, 0, 0), (1.0, 0, 0)), true)
    assert turned["rotation_error"] == pytest.approx(10.5)
    assert turned["translation_error"] == pytest.approx(0, abs=1e-9)
    assert [turned[name] for name in SHARES] == [0, 1, 1, 1, 1, 1]
    assert turned["auc_30"] == pytest.approx(20 / 30)  # below 11, …, 30 degrees
    aside = compare(pair(3.5, (0.0, 0, 0), (2 * math.cos(0.4), 2 * math.sin(0.4), 0)), true)
    assert aside["translation_error"] == pytest.approx(math.degrees(0.4))  # 22.9 degrees
    assert aside["auc_30"] == pytest.approx(8 / 30)  # below 23, …, 30 degrees
    behind = pair(0, (0.0, 0, 0), (-1.0, 0, 0))
    assert compare(behind, true)["translation_error"] == 0
    assert compare(behind, true, unsigned=False)["translation_error"] == 180


def test_exactly_thirty_degrees_fall_into_the_last_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    true = pair(0, (0.0, 0, 0), (1.0, 0, 0))
    monkeypatch.setattr(metrics.pose, "rotation_angle", lambda a, b: a.new_full(a.shape[:-2], 30.0))
    values = compare(true, true)
    assert values["auc_30"] == pytest.approx(1 / 30)
    assert values["rotation_accuracy_30"] == 0


@pytest.mark.parametrize("place", [(0.0, 0, 0), (3.0, -2, 1)])
def test_cameras_in_one_place_have_no_direction(place: tuple[float, ...]) -> None:
    turned = Rotation.from_euler("y", 40, degrees=True).as_matrix() @ np.array(place)
    true = pair(40, place, tuple(turned)).float()
    away = pair(41.5, (0.0, 0, 0), (0.0, 1, 0))
    values = compare(away, true)
    assert (values["pairs"], values["pairs_without_baseline"]) == (1, 1)
    assert math.isnan(values["translation_error"])
    assert values["rotation_error"] == pytest.approx(1.5, abs=1e-4)
    assert values["auc_30"] == pytest.approx(29 / 30)
    for unsigned, worst in ((True, 90), (False, 180)):  # where the truth has a direction, the prediction none
        values = compare(true, away, unsigned)
        assert values["translation_error"] == worst
        assert values["auc_30"] == 0


def test_faulty_predictions_and_empty_measurements() -> None:
    cameras = scenes(4)
    cameras[0][0, 1] = torch.nan
    faulty, expected = measured(cameras), by_hand(scenes(4), True)
    assert math.isnan(faulty["rotation_error"])
    assert math.isnan(faulty["translation_error"])
    assert faulty["pairs"] == expected["pairs"] == 18
    assert 0 < faulty["rotation_accuracy_30"] <= 15 / 18  # the three pairs with that view are wrong
    empty = measured([*cameras[:4], torch.zeros(4)])
    assert empty["pairs"] == 0
    assert math.isnan(empty["auc_30"])
    single = measured([x[:, :1] if x.ndim > 1 else x for x in scenes(4)])
    assert single["pairs"] == 0
    assert single["focal_error"] > 0


def part_of(rank: int) -> list[dict[str, float]]:
    results = []
    for first, last in (((0, 9), (9, 12))[rank], ((0, 12), (12, 12))[rank]):  # uneven; nothing at all in one
        metric = PoseErrors()
        for part in zip(*(x[first:last].split(2) for x in scenes(12)), strict=True):
            if len(part[0]):
                metric.update(*part)
        results.append({name: float(value) for name, value in metric.compute().items()})
    return results


@pytest.mark.slow
def test_two_processes_compute_the_same_as_one(tmp_path: Path) -> None:
    expected = measured(scenes(12))
    for results in results_of_two(part_of, tmp_path):
        assert results == [pytest.approx(expected, rel=1e-12)] * 2
    assert measured([x[:9] for x in scenes(12)]) != pytest.approx(expected, rel=1e-3)  # a part alone would differ
