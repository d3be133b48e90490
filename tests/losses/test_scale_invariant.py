from __future__ import annotations

import pytest
import torch
from torch import Tensor

from losses.scale_invariant import ScaleInvariantLoss, edge_error

EPS = 1e-6


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layered(count: int, height: int = 9, width: int = 11) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predictions, targets of a few values, masks that leave odd and even counts, and weights."""
    target = (6 * uniform(count, height, width)).floor() / 5
    prediction = 0.3 + 0.2 * target + 0.2 * uniform(count, height, width, seed=1)
    mask = uniform(count, height, width, seed=2) < 0.3 + 0.7 * uniform(count, 1, 1, seed=3)
    return prediction, target, mask, torch.ones(count)


def middle(values: Tensor) -> Tensor:
    ascending = values.sort().values
    return (ascending[(len(values) - 1) // 2] + ascending[len(values) // 2]) / 2


def normalised(values: Tensor) -> Tensor:
    centred = values - middle(values)
    return centred / (centred.abs().mean() + EPS)


def by_hand(prediction: Tensor, target: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """The definition, an image at a time."""
    errors = []
    for p, t, m, weight in zip(prediction, target, mask, weights, strict=True):
        if weight > 0 and len(t[m].unique()) > 1:
            errors.append((normalised(p[m]) - normalised(t[m])).abs().mean())
    return torch.stack(errors).mean()


def edges_by_hand(difference: Tensor, mask: Tensor) -> list[float]:
    errors = []
    for d, m in zip(difference.tolist(), mask.tolist(), strict=True):
        scales = []
        for step in (1, 2, 4, 8):
            jumps = []
            for y in range(0, len(d), step):
                for x in range(0, len(d[0]), step):
                    for y_next, x_next in ((y + step, x), (y, x + step)):
                        if y_next < len(d) and x_next < len(d[0]) and m[y][x] and m[y_next][x_next]:
                            jumps.append(abs(d[y][x] - d[y_next][x_next]))
            scales.append(sum(jumps) / max(len(jumps), 1))
        errors.append(sum(scales) / 4)
    return errors


def gradient(loss: Tensor, prediction: Tensor) -> Tensor:
    return torch.autograd.grad(loss, prediction)[0]


def test_value_and_gradient_are_those_of_the_definition() -> None:
    prediction, *truth = layered(8)
    truth[2][4] = 0  # padding
    truth[1][5] = False  # nothing known
    truth[0][6] = 0.4  # one layer
    prediction.requires_grad_()
    terms = ScaleInvariantLoss()(prediction, *truth)
    expected = by_hand(prediction, *truth)
    assert 0.1 < expected < 2
    assert set(terms) == {"loss", "scale_invariant", "images_with_order"}
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["scale_invariant"], expected)
    torch.testing.assert_close(gradient(terms["loss"], prediction), gradient(expected, prediction))
    assert terms["images_with_order"] == 5


@pytest.mark.parametrize("edge_weight", [0.0, 0.1])
def test_gradient_is_that_of_finite_differences(edge_weight: float) -> None:
    prediction, *truth = layered(3, 4, 5)
    loss = ScaleInvariantLoss(edge_weight)
    assert torch.autograd.gradcheck(lambda p: loss(p, *truth)["loss"], prediction.requires_grad_())


def test_scale_and_shift_of_either_do_not_matter() -> None:
    prediction, *truth = layered(4)
    loss = ScaleInvariantLoss(0.1)
    expected = loss(prediction, *truth)
    scale, shift = uniform(4, 1, 1, seed=5) + 0.5, uniform(4, 1, 1, seed=6) - 0.5
    for given in ((scale * prediction + shift, *truth), (prediction, 3 * truth[0] - 1, *truth[1:])):
        torch.testing.assert_close(loss(*given), expected, rtol=1e-4, atol=0)
    assert loss(scale * truth[0] + shift, *truth)["loss"] < 1e-4
    assert loss(-prediction, *truth)["loss"] > 1.2


def test_edge_term() -> None:
    prediction, *truth = layered(4, 17, 13)
    terms = ScaleInvariantLoss(0.25)(prediction, *truth)
    difference = torch.zeros_like(prediction)
    for d, p, t, m in zip(difference, prediction, *truth[:2], strict=True):
        d[m] = normalised(p[m]) - normalised(t[m])
    expected = edges_by_hand(difference, truth[1])
    assert edge_error(difference, truth[1]).tolist() == pytest.approx(expected)
    assert float(terms["edge"]) == pytest.approx(sum(expected) / 4)
    torch.testing.assert_close(terms["loss"], terms["scale_invariant"] + 0.25 * terms["edge"])


def test_one_layer_and_empty_masks_leave_other_images_alone() -> None:
    prediction, *truth = layered(4)
    alone = [x[:1] for x in (prediction, *truth)]
    alone[0].requires_grad_()
    expected = ScaleInvariantLoss(0.1)(*alone)["loss"]
    prediction, (target, mask, weights) = prediction.clone(), truth
    target[1], mask[2], weights[3] = 0.7, False, 0
    prediction[3] = torch.nan  # padding may hold anything
    prediction, target = prediction.where(mask, torch.nan), target.where(mask, torch.nan)
    prediction.requires_grad_()
    terms = ScaleInvariantLoss(0.1)(prediction, target, mask, weights)
    torch.testing.assert_close(terms["loss"], expected)
    assert terms["images_with_order"] == 1
    steps = gradient(terms["loss"], prediction)
    torch.testing.assert_close(steps[:1], gradient(expected, alone[0]))
    assert steps[1:].count_nonzero() == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_prediction_has_a_finite_gradient(value: float) -> None:
    _, *truth = layered(2)
    prediction = torch.full((2, 9, 11), value, requires_grad=True)
    loss = ScaleInvariantLoss(0.1)(prediction, *truth)
    assert float(loss["scale_invariant"].detach()) == pytest.approx(1, abs=1e-4)
    steps = gradient(loss["loss"], prediction)
    assert steps.isfinite().all()
    assert steps.count_nonzero() > 0


def test_without_images_the_loss_is_zero_and_on_the_graph() -> None:
    prediction, target, mask, weights = layered(3)
    prediction.requires_grad_()
    for truth in ((target, mask, 0 * weights), (target, mask & False, weights), (0 * target + 0.2, mask, weights)):
        terms = ScaleInvariantLoss(0.1)(prediction, *truth)
        assert all(value == 0 for value in terms.values())
        assert gradient(terms["loss"], prediction).count_nonzero() == 0


def test_half_precision_is_computed_in_float32() -> None:
    prediction, target, mask, weights = layered(3)
    rounded = prediction.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms = ScaleInvariantLoss(0.1)(rounded[:, None], target.float(), mask, weights)
    assert {value.dtype for value in terms.values()} == {torch.float32}
    expected = ScaleInvariantLoss(0.1)(rounded.double(), target, mask, weights)
    for name, value in terms.items():
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-4)


def test_wrong_predictions_lower_the_metrics() -> None:
    prediction, *truth = layered(3)
    with pytest.raises(ValueError, match=r"\(3, 9, 11\), \(3, 9, 10\)"):
        ScaleInvariantLoss()(prediction, truth[0][:, :, 1:], *truth[1:])
    with pytest.raises(ValueError, match="edge_weight"):
        ScaleInvariantLoss(-0.1)
    for faulty in (torch.nan, torch.inf):
        assert ScaleInvariantLoss()(prediction.masked_fill(truth[1], faulty), *truth)["loss"].isnan()
