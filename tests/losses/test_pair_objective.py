from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from batches.pair import PairBatch
from losses.camera import camera_loss
from losses.dense import dense_loss, difference_loss, normal_loss, trimmed_mean
from losses.pair_objective import PairLoss, PairPredictions, normalised_targets

FIXTURE = load_file(Path(__file__).parents[1] / "parity" / "vggt_losses.safetensors")
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "camera_l1": {},
    "camera_l2": {"camera_loss": "l2"},
    "depth_grad_q98": {},
    "depth_none": {"depth_gradient": "none", "valid_range": None},
    "point_normal_q98": {},
}
TERMS = ("loss_camera", *(f"loss_{term}_{kind}" for kind in ("depth", "point") for term in ("conf", "reg", "grad")))


def fixture_batch() -> PairBatch:
    return {
        "depths": FIXTURE["depths"].clone(),
        "extrinsics": FIXTURE["extrinsics"].clone(),
        "intrinsics": FIXTURE["intrinsics"].clone(),
        "cam_points": FIXTURE["cam_points"].clone(),
        "world_points": FIXTURE["world_points"].clone(),
        "point_masks": FIXTURE["point_masks"].clone(),
        "images": torch.zeros(2, 2, 3, 48, 56),
        "seq_name": ["a", "b"],
        "weights": torch.ones(2),
    }


def fixture_predictions() -> PairPredictions:
    return {
        "pose_enc_list": [x.clone().requires_grad_() for x in FIXTURE["pred_pose_enc_list"]],
        "depth": FIXTURE["pred_depth"].clone().requires_grad_(),
        "depth_conf": FIXTURE["pred_depth_conf"].clone().requires_grad_(),
        "world_points": FIXTURE["pred_world_points"].clone().requires_grad_(),
        "world_points_conf": FIXTURE["pred_world_points_conf"].clone().requires_grad_(),
    }


def leaves(predictions: PairPredictions) -> list[Tensor]:
    values: Any = predictions.values()
    return [x for value in values for x in (value if isinstance(value, list) else [value])]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_published_terms_are_reproduced(name: str) -> None:
    losses = PairLoss(**CONFIGURATIONS[name])(fixture_predictions(), normalised_targets(fixture_batch()))
    published = {key.split("/")[1]: value for key, value in FIXTURE.items() if key.startswith(f"{name}/")}
    assert len(published) in (3, 4)
    for term, value in published.items():
        torch.testing.assert_close(losses[term], value, rtol=1e-4, atol=1e-5)


def test_the_objective_is_the_weighted_sum_of_its_terms() -> None:
    losses = PairLoss()(fixture_predictions(), normalised_targets(fixture_batch()))
    dense = sum(losses[term] for term in TERMS[1:])
    torch.testing.assert_close(losses["loss_objective"], 5 * losses["loss_camera"] + dense)
    assert losses["nonfinite"] == 0
    weighted = PairLoss(camera_weight=2, depth_weight=3, point_weight=0)(
        fixture_predictions(), normalised_targets(fixture_batch())
    )
    depth = sum(losses[f"loss_{term}_depth"] for term in ("conf", "reg", "grad"))
    torch.testing.assert_close(weighted["loss_objective"], 2 * losses["loss_camera"] + 3 * depth)


def test_points_are_optional() -> None:
    predictions = fixture_predictions()
    del predictions["world_points"], predictions["world_points_conf"]
    losses = PairLoss()(predictions, normalised_targets(fixture_batch()))
    assert not [term for term in losses if term.endswith("_point")]
    dense = sum(losses[f"loss_{term}_depth"] for term in ("conf", "reg", "grad"))
    torch.testing.assert_close(losses["loss_objective"], 5 * losses["loss_camera"] + dense)


def test_normalising_keeps_the_given_batch() -> None:
    batch = fixture_batch()
    normalised = normalised_targets(batch)
    torch.testing.assert_close(normalised["depths"], FIXTURE["norm_depths"])
    torch.testing.assert_close(normalised["extrinsics"], FIXTURE["norm_extrinsics"])
    torch.testing.assert_close(normalised["world_points"], FIXTURE["norm_world_points"])
    torch.testing.assert_close(normalised["cam_points"][..., 2], FIXTURE["norm_depths"])
    assert torch.equal(batch["depths"], FIXTURE["depths"])


def naive_mean(values: Tensor, quantile: float | None) -> Tensor:
    """The published trimming, with sizes that depend on the data."""
    if quantile is None or len(values) <= 1000:
        return values.mean()
    values = values.clamp(max=100)
    threshold = values.kthvalue(1 + round(quantile * (len(values) - 1))).values
    kept = values[values < threshold]
    return (kept if len(kept) > 1000 else values).mean()


@pytest.mark.parametrize("count", [1, 1000, 1001, 1021, 1022, 1500, 1999, 2000])
@pytest.mark.parametrize("quantile", [None, 0.98, 0.5, 0.9751, 1.0])
def test_trimming_agrees_with_its_definition(count: int, quantile: float | None) -> None:
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(count))
    mask = torch.zeros(2000, dtype=torch.bool)
    mask[order[:count]] = True
    values = torch.where(mask, 150 * uniform(2000, seed=count).square() - 1, 0)
    torch.testing.assert_close(trimmed_mean(values, mask, quantile), naive_mean(values[mask], quantile))


def test_trimming_where_many_values_are_equal() -> None:
    mask = torch.ones(3000, dtype=torch.bool)
    values = torch.ones(3000).index_fill(0, torch.arange(500), 0.0)
    assert trimmed_mean(values, mask, 0.98) == naive_mean(values, 0.98) == pytest.approx(2500 / 3000)
    values[:2000] = 0
    assert trimmed_mean(values, mask, 0.98) == naive_mean(values, 0.98) == 0
    assert trimmed_mean(values, ~mask, 0.98) == 0


def test_difference_loss_of_known_errors() -> None:
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    ramp = torch.arange(8.0)[None, None, :, None].expand(1, 8, 8, 1)
    # 2^s between neighbours: 8 rows of 7 × 1, 4 of 3 × 2, 2 of 1 × 4, one pixel alone
    assert float(difference_loss(ramp, mask)) == pytest.approx((56 / 64 + 24 / 16 + 8 / 4 + 0) / 4)
    torch.testing.assert_close(difference_loss(ramp.transpose(1, 2), mask), difference_loss(ramp, mask))
    assert float(difference_loss(1000 * ramp, mask, scales=1)) == pytest.approx(100 * 56 / 64)
    mask[:, :, 3] = False
    assert float(difference_loss(ramp * mask[..., None], mask, scales=1)) == pytest.approx(40 / 56)


def test_normal_loss_of_known_planes() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    mask = torch.ones(1, 9, 9, dtype=torch.bool)

    def plane(slope: float) -> Tensor:
        return torch.stack([x, y, slope * x], dim=-1)[None]

    assert float(normal_loss(plane(0), plane(0), mask)) == pytest.approx(0, abs=1e-6)
    assert float(normal_loss(plane(0), plane(1), mask)) == pytest.approx(1 - 0.5**0.5)
    assert float(normal_loss(plane(0), plane(0).flip(1), mask)) == pytest.approx(2)
    mask[:, 1:] = False  # no pixel has a valid vertical neighbour
    assert normal_loss(plane(0), plane(1), mask) == 0


def test_fewer_than_a_hundred_pixels_give_no_gradient() -> None:
    prediction, target, confidence = (
        uniform(1, 1, 10, 12, 1),
        uniform(1, 1, 10, 12, 1, seed=1),
        1 + uniform(1, 1, 10, 12),
    )
    for count, expected in ((99, False), (100, True)):
        mask = (torch.arange(120) < count).view(1, 1, 10, 12)
        terms = dense_loss(prediction, confidence, target, mask)
        assert [bool(term != 0) for term in terms[:3]] == [expected] * 3


def test_cameras_count_with_over_a_hundred_pixels_in_the_first_view() -> None:
    batch = normalised_targets(fixture_batch())
    expected = [PairLoss()(fixture_predictions(), batch)[term].item() for term in ("loss_T", "loss_R", "loss_FL")]
    encodings, targets = FIXTURE["pred_pose_enc_list"], FIXTURE["pose_encoding_gt"]
    one = camera_loss(encodings[:, 1:], targets[1:], torch.tensor([True]))
    for valid, counts in ((100, False), (101, True)):
        batch["point_masks"][0, 0] = (torch.arange(48 * 56) < valid).view(48, 56)
        found = PairLoss()(fixture_predictions(), batch)
        values = [found[term].item() for term in ("loss_T", "loss_R", "loss_FL")]
        assert values == pytest.approx(expected if counts else [float(x) for x in one[:3]])


def test_camera_loss_by_hand() -> None:
    targets = torch.zeros(1, 2, 9)
    encodings = torch.zeros(2, 1, 2, 9)
    encodings[1, 0, 0, 0] = 300.0  # cut off at 100
    encodings[0, 0, 1, 3:7] = torch.tensor([3.0, 0, 4, 0])
    yes = torch.tensor([True])
    l1, l2 = camera_loss(encodings, targets, yes, "l1"), camera_loss(encodings, targets, yes, "l2")
    assert float(l1.translation) == pytest.approx(100 / 6 / 2)
    assert float(l2.translation) == pytest.approx(100 / 2 / 2)
    assert float(l1.rotation) == pytest.approx(0.6 * 7 / 8 / 2)
    assert float(l2.rotation) == pytest.approx(0.6 * 5 / 2 / 2)
    assert l1.field_of_view == 0


def test_rows_of_weight_zero_are_ignored() -> None:
    batch = normalised_targets(fixture_batch())
    batch["weights"] = torch.tensor([1.0, 0.0])
    predictions = fixture_predictions()
    with torch.no_grad():
        for x in leaves(predictions):
            x[1] = torch.nan
    found = PairLoss()(predictions, batch)
    found["loss_objective"].backward()
    rows: Any = batch.items()
    first: Any = {key: value[:1] for key, value in rows}
    items: Any = fixture_predictions().items()
    alone: Any = {key: [x[:1] for x in value] if isinstance(value, list) else value[:1] for key, value in items}
    for term, value in PairLoss()(alone, first).items():
        torch.testing.assert_close(found[term], value)
    assert all(x.grad is not None and x.grad.isfinite().all() and (x.grad[1] == 0).all() for x in leaves(predictions))


@pytest.mark.parametrize("point_gradient", ["normal", "grad"])
@pytest.mark.parametrize("camera_distance", ["l1", "l2"])
def test_nothing_valid_keeps_the_graph(point_gradient: Any, camera_distance: Any) -> None:
    batch = fixture_batch()
    batch["point_masks"][:] = False
    batch["world_points"][:] = torch.nan
    batch["depths"][:] = torch.nan
    predictions = fixture_predictions()
    loss = PairLoss(point_gradient=point_gradient, camera_loss=camera_distance)
    losses = loss(predictions, normalised_targets(batch))
    assert all(value == 0 for value in losses.values())
    losses["loss_objective"].backward()
    assert all(x.grad is not None and (x.grad == 0).all() for x in leaves(predictions))


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
def test_faulty_values_become_zero_and_are_counted(fault: float, distance: Any) -> None:
    predictions, batch = fixture_predictions(), normalised_targets(fixture_batch())
    y, x = batch["point_masks"][0, 0].nonzero()[700].tolist()
    yo, xo = (~batch["point_masks"][0, 0]).nonzero()[30].tolist()
    with torch.no_grad():
        predictions["pose_enc_list"][2][0, 1, 4] = fault
        predictions["depth"][0, 0, y, x] = fault
        predictions["world_points_conf"][0, 0, y, x] = fault
        predictions["world_points"][0, 0, yo, xo] = fault  # not valid: not looked at
        predictions["depth_conf"][0, 0, yo, xo] = fault
    losses = PairLoss(camera_loss=distance)(predictions, batch)
    assert all(value.isfinite() for value in losses.values())
    assert losses["nonfinite"] == 3
    losses["loss_objective"].backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in leaves(predictions))
    assert predictions["depth"].grad is not None
    assert predictions["depth"].grad[0, 0, y, x] == 0


def test_faulty_truth_is_counted() -> None:
    batch = normalised_targets(fixture_batch())
    y, x = batch["point_masks"][1, 1].nonzero()[500].tolist()
    batch["depths"][1, 1, y, x] = torch.inf
    losses = PairLoss()(fixture_predictions(), batch)
    assert losses["nonfinite"] == 1
    assert losses["loss_objective"].isfinite()


def test_autocast_does_not_round_the_losses() -> None:
    batch = fixture_batch()
    expected = PairLoss()(fixture_predictions(), normalised_targets(batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = PairLoss()(fixture_predictions(), normalised_targets(batch))
    assert all(torch.equal(value, expected[term]) for term, value in found.items())


class NoWaiting(TorchDispatchMode):
    """Raises if an operation would have to wait for results of a GPU."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "item")

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # mypy knows by this name that the untyped call is torch's

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name.startswith(("index", "_index_put")) and len(args) > 1 else ()
        by_mask = isinstance(indices, list | tuple) and any(
            isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices
        )
        if by_mask or any(name == waiting or name.startswith(f"{waiting}_") for waiting in self.WAITING):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, {"camera_loss": "l2", "point_gradient": "grad", "valid_range": None}])
def test_nothing_waits_for_the_device(options: dict[str, Any]) -> None:
    batch, predictions = fixture_batch(), fixture_predictions()
    with NoWaiting():
        PairLoss(**options)(predictions, normalised_targets(batch))["loss_objective"].backward()
    on_meta: Any = {key: x.to("meta") if isinstance(x, Tensor) else x for key, x in batch.items()}
    items: Any = fixture_predictions().items()
    meta_items: Any = {k: [y.to("meta") for y in x] if isinstance(x, list) else x.to("meta") for k, x in items}
    losses = PairLoss(**options)(meta_items, normalised_targets(on_meta))  # has no values to wait for
    assert {x.device.type for x in losses.values()} == {"meta"}


def test_waiting_would_be_detected() -> None:
    x, mask = torch.ones(3), torch.tensor([True, False, True])
    for wait in (lambda: x[mask], lambda: x.sum().item(), lambda: bool(mask[0]), mask.nonzero, lambda: x[x.argmax()]):
        with NoWaiting(), pytest.raises(AssertionError, match="waits"):
            wait()
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        x[mask] = torch.zeros(2)


def small_dense(channels: int, rows: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape = (1, 2, rows, 9)
    prediction = (1 + uniform(*shape, channels)).requires_grad_()
    confidence = (1.5 + uniform(*shape, seed=1)).requires_grad_()
    return prediction, confidence, 1 + uniform(*shape, channels, seed=2), uniform(*shape, seed=3) < 0.9


@pytest.mark.parametrize(("channels", "gradient"), [(1, "grad"), (3, "grad"), (3, "normal")])
@pytest.mark.parametrize("term", ["conf", "reg", "grad"])
@pytest.mark.slow
def test_dense_gradients_agree_with_finite_differences(channels: int, gradient: Any, term: str) -> None:
    prediction, confidence, target, mask = small_dense(channels)

    def loss(prediction: Tensor, confidence: Tensor) -> Tensor:
        result: Tensor = getattr(dense_loss(prediction, confidence, target, mask, gradient=gradient), term)
        return result

    assert loss(prediction, confidence) != 0
    assert torch.autograd.gradcheck(loss, (prediction, confidence))


def test_trimmed_gradients_agree_with_finite_differences() -> None:
    prediction, confidence, target, mask = small_dense(1, rows=80)

    def loss(prediction: Tensor, confidence: Tensor) -> Tensor:
        terms = dense_loss(prediction, confidence, target, mask, valid_range=0.9)
        return torch.stack(terms[:2])

    whole = dense_loss(prediction, confidence, target, mask, valid_range=None)
    assert (loss(prediction, confidence) < 0.99 * torch.stack(whole[:2])).all()  # something is left out
    # along random directions: a step in every input would take half a minute
    assert torch.autograd.gradcheck(loss, (prediction, confidence), fast_mode=True)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_camera_gradients_agree_with_finite_differences(distance: Any) -> None:
    encodings = uniform(2, 3, 2, 9).requires_grad_()
    targets, counted = uniform(3, 2, 9, seed=1), torch.tensor([True, False, True])

    def loss(encodings: Tensor) -> Tensor:
        return torch.stack(camera_loss(encodings, targets, counted, distance)[:3])

    assert torch.autograd.gradcheck(loss, encodings)
    weight = torch.autograd.grad(loss(encodings)[0], encodings)[0]
    assert (weight[:, 1] == 0).all()


@pytest.mark.parametrize(
    "option", [{"camera_loss": "huber"}, {"depth_gradient": "normal"}, {"point_gradient": "x"}, {"valid_range": 98}]
)
def test_meaningless_settings_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        PairLoss(**option)
