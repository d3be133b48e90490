from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from geometry.cameras import camera_to_world, unproject
from geometry.scene import NormalisedScene, normalise_scene

FIXTURE = Path(__file__).parents[1] / "parity" / "vggt_losses.safetensors"


@pytest.fixture
def scene() -> dict[str, torch.Tensor]:
    names = ("extrinsics", "cam_points", "world_points", "depths", "point_masks")
    fixture = load_file(FIXTURE)
    return {name: fixture[name] for name in names}


def test_published_scene_is_reproduced(scene: dict[str, torch.Tensor]) -> None:
    fixture = load_file(FIXTURE)
    normalised = normalise_scene(**scene)
    for name in ("extrinsics", "world_points", "depths"):
        torch.testing.assert_close(getattr(normalised, name), fixture[f"norm_{name}"], rtol=1e-4, atol=1e-5)


def test_the_normalised_scene_agrees_with_itself(scene: dict[str, torch.Tensor]) -> None:
    normalised = normalise_scene(**scene)
    points = unproject(normalised.depths, load_file(FIXTURE)["intrinsics"])
    torch.testing.assert_close(points, normalised.cam_points)
    torch.testing.assert_close(camera_to_world(points, normalised.extrinsics), normalised.world_points)
    torch.testing.assert_close(normalised.extrinsics[:, 0], torch.eye(4)[:3].expand(2, 3, 4), atol=1e-5, rtol=0)
    distances = normalised.world_points.norm(dim=-1)
    for own, mask in zip(distances, scene["point_masks"], strict=True):
        assert float(own[mask].mean()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(normalised.depths * normalised.scale[:, None, None, None], scene["depths"])


def finite(normalised: NormalisedScene) -> bool:
    return all(bool(x.isfinite().all()) for x in normalised if x is not None)


def test_a_scene_without_points_keeps_its_size(scene: dict[str, torch.Tensor]) -> None:
    scene["point_masks"][1] = False
    normalised = normalise_scene(**scene)
    assert finite(normalised)
    assert normalised.scale[1] == 1
    assert torch.equal(normalised.depths[1], scene["depths"][1])
    assert torch.equal(normalised.depths[0], normalise_scene(**scene).depths[0])


def test_values_outside_the_mask_do_not_matter(scene: dict[str, torch.Tensor]) -> None:
    expected = normalise_scene(**scene)
    scene["world_points"][~scene["point_masks"]] = torch.nan
    del scene["cam_points"]
    found = normalise_scene(cam_points=None, **scene)
    assert found.cam_points is None
    assert torch.equal(found.scale, expected.scale)
    assert torch.equal(found.world_points[scene["point_masks"]], expected.world_points[scene["point_masks"]])


def test_scale_has_bounds(scene: dict[str, torch.Tensor]) -> None:
    for factor, scale in ((0.0, 1e-6), (1e9, 1e6)):
        scene["extrinsics"] = torch.eye(4)[:3].expand(2, 2, 3, 4)
        normalised = normalise_scene(**{**scene, "world_points": factor * scene["world_points"]})
        assert normalised.scale.tolist() == pytest.approx([scale, scale])
        assert finite(normalised)
