from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from exporters.visualization.depth import (
    INVALID,
    colour_confidence,
    colour_depth,
    colour_error,
    depth_range,
    draw_frusta,
)

BLUE, ORANGE = (27, 108, 168), (217, 95, 2)
K = torch.tensor([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])


def poses(*centres: tuple[float, float, float]) -> torch.Tensor:
    """Extrinsics of cameras that all look along z."""
    return torch.cat([torch.eye(3).expand(len(centres), 3, 3), -torch.tensor(centres)[..., None]], dim=-1)


def has(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((image == colour).all(-1).any())


def test_near_is_red_far_is_blue_and_nothing_is_grey() -> None:
    depth = torch.linspace(10, 100, 120).view(10, 12)
    depth[0, :4] = torch.tensor([0, -3, torch.nan, torch.inf])
    image = colour_depth(depth)
    assert image.shape == (10, 12, 3)
    assert image.dtype == np.uint8
    assert (image[0, :4] == INVALID).all()
    assert not has(image[1:], INVALID)
    near, far = image[0, 4].astype(int), image[-1, -1].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0]
    masked = colour_depth(depth, valid=torch.zeros(10, 12, dtype=torch.bool))
    assert (masked == INVALID).all()


def test_steps_are_even_in_inverse_depth() -> None:
    inverse = np.linspace(1, 0.1, 7)
    plane = colour_depth(1 / inverse[None], near=1, far=10)
    reference = colour_depth(1 / np.array([[1.0, 0.55, 0.1]]), near=1, far=10)
    np.testing.assert_array_equal(plane[0, [0, 3, 6]], reference[0])


def test_outliers_do_not_move_the_range() -> None:
    depth = np.linspace(50, 60, 1000)
    spoiled = depth.copy()
    spoiled[:5], spoiled[5:10] = 0.01, 1e6
    assert depth_range(spoiled) == pytest.approx(depth_range(depth), rel=0.01)
    assert depth_range(np.zeros(4)) == (1, 1)


@pytest.mark.filterwarnings("error")
def test_a_flat_wall_has_one_colour() -> None:
    image = colour_depth(np.full((3, 4), 7.0))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1
    assert not has(image, INVALID)


@pytest.mark.filterwarnings("error")
def test_errors_have_a_fixed_scale() -> None:
    true = np.array([[10.0, 10, 10, 10, 10, 0, 10]])
    predicted = np.array([[10.0, 11, 12, 30, np.nan, 5, 10]])
    mask = np.array([[1, 1, 1, 1, 1, 1, 0]], bool)
    image = colour_error(predicted, true, mask)[0].astype(int)
    assert image[0].sum() < image[1].sum() < image[2].sum()  # 0, 10 and 20 %
    assert (image[2] == image[3]).all()  # larger errors are not brighter
    assert (image[3] == image[4]).all()  # NaN and infinite predictions get the largest error
    assert (image[5:] == INVALID).all()
    with pytest.raises(ValueError, match="shape"):
        colour_error(predicted[:, :3], true)


@pytest.mark.filterwarnings("error")
def test_confidence_brightens() -> None:
    image = colour_confidence(torch.tensor([[1.0, 2, 8, 64, torch.nan]]), highest=64)[0].astype(int)
    assert (np.diff(image[:4].sum(-1)) > 0).all()
    assert (image[4] == INVALID).all()
    assert not has(colour_confidence(torch.ones(2, 3)), INVALID)


def without_legend(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The plot below the legend, whose lines have the colours of the cameras too."""
    return image[image.shape[0] // 4 :]


def test_frusta_show_both_sets_of_cameras() -> None:
    true, predicted = poses((0, 0, 0), (1, 0, 0)), poses((0, 0, 0), (0.8, 0.3, 0))
    image = draw_frusta(predicted, K.expand(2, 3, 3), true, image_size=(48, 64), side=300)
    assert image.shape == (300, 300, 3)
    assert has(without_legend(image), BLUE)
    assert has(without_legend(image), ORANGE)
    predicted_only = draw_frusta(predicted, K.expand(2, 3, 3), side=300)
    assert has(without_legend(predicted_only), ORANGE)
    assert not has(predicted_only, BLUE)


@pytest.mark.parametrize("centres", [((0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0)), ((2.0, 1.0, 0.0), (2.0, 1.0, 0.0))])
def test_cameras_that_diverged_or_coincide_are_drawn(centres: tuple[tuple[float, float, float], ...]) -> None:
    assert has(without_legend(draw_frusta(poses(*centres), K.expand(2, 3, 3), side=200)), ORANGE)


def test_no_finite_camera_leaves_the_plot_without_frusta() -> None:
    image = draw_frusta(poses((float("nan"), 0.0, 0.0)), K[None], side=200)
    assert not has(without_legend(image), ORANGE)
