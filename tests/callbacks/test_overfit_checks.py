"""Judgement of an over-fit test from the numbers of the run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from callbacks.overfit_checks import (
    FALL,
    GAP,
    RISES,
    Setup,
    conclusion,
    criteria,
    gradient_name,
    observations,
    smoothed,
    what_to_try,
    window,
)

SETUP = Setup(1e-4, 100, trained_parts=("aggregator", "depth_head"), valid_shares=(0.9, 0.6), is_pretrained=True)
Row = dict[str, float]


def history(epochs: int = 100, end: float = 0.0, **last: float) -> list[Row]:
    """Return an exponential fall from 3 to ``end``; ``last`` sets values of the last epoch."""
    rows = []
    for epoch in range(1, epochs + 1):
        falling = end + 3 * math.exp(-epoch / 5)
        row = {"epoch": float(epoch), "train/loss_objective": falling, "val/loss_objective": falling}
        row |= {"train/loss_camera": falling / 10, "train/loss_reg_depth": falling / 2, "train/loss_grad_depth": 0.0}
        row |= {"val/loss_camera": falling / 10, "val/loss_reg_depth": falling / 2}
        row |= {"val/abs_rel": falling, "val/rotation_error": falling}
        rows.append(row | {"grad_norm/aggregator": 5 * falling + 1, "grad_norm/depth_head": 1.0})
    rows[-1] |= {name.replace("__", "/"): value for name, value in last.items()}
    return rows


def failed(rows: list[Row], setup: Setup = SETUP, nonfinite: float = 0) -> dict[str, float]:
    """Return the criteria that failed with their values."""
    return {each.name: each.value for each in criteria(rows, nonfinite, setup) if not each.passed}


def advice(rows: list[Row], setup: Setup = SETUP, nonfinite: float = 0) -> str:
    return "\n".join(what_to_try(rows, criteria(rows, nonfinite, setup), setup))


def test_a_run_that_memorises_passes() -> None:
    rows = history()
    judged = criteria(rows, 0, SETUP)
    assert failed(rows) == {}
    assert [each.name for each in judged[5:]] == [
        FALL,
        RISES,
        GAP,
        gradient_name("aggregator"),
        gradient_name("depth_head"),
        "non-finite values",
    ]
    lines = observations(rows, judged, SETUP)
    assert "falls: 2.456 in epoch 1, 6.183e-09 in epoch 100. Smoothed over 10 epochs, it rises in 0 %" in lines[0]
    assert lines[1] == "The over-fit is reached in epoch 29: all losses and errors are below their limits."
    assert lines[-1].startswith("Nothing went wrong")
    assert what_to_try(rows, judged, SETUP) == []
    assert conclusion(judged, []).startswith("The network memorises this pair")


def test_smoothing_averages_a_tenth() -> None:
    assert [window(count) for count in (1, 2, 4, 10, 60, 1500)] == [1, 1, 2, 5, 6, 150]
    assert smoothed([1.0, 3.0, 5.0, 7.0]) == [2.0, 4.0, 6.0]
    assert smoothed([1.0]) == [1.0]


def test_noise_that_averages_out_still_falls() -> None:
    rows = history()
    for row in rows:
        row["train/loss_objective"] += 0.001 * math.cos(math.pi * row["epoch"])
    assert RISES not in failed(rows)


def test_a_rising_loss_fails_and_names_the_learning_rate() -> None:
    rows = history()
    for row in rows:
        row["train/loss_objective"] = row["val/loss_objective"] = 1 + math.sin(row["epoch"] / 8) + row["epoch"] / 50
    found = failed(rows)
    assert found[FALL] > 0
    assert 40 < found[RISES] < 70
    text = advice(rows)
    assert (
        f"`--model.learning_rate 3e-05` instead of 0.0001, since the smoothed objective rose in {found[RISES]:.0f} %"
        in text
    )
    assert "does not fall" in observations(rows, criteria(rows, 0, SETUP), SETUP)[0]


@pytest.mark.parametrize(
    ("norm", "value"), [(math.nan, math.nan), (math.inf, math.inf), (2000.0, 2000.0), (None, 0.0), (1e-8, 1e-8)]
)
def test_gradients_out_of_bounds_fail_by_part(norm: float | None, value: float) -> None:
    rows = history()
    for row in rows:
        del row["grad_norm/depth_head"]
        if norm is not None:
            row["grad_norm/depth_head"] = norm
    found = failed(rows)
    assert found.keys() == {gradient_name("depth_head")}
    assert found[gradient_name("depth_head")] == pytest.approx(value, nan_ok=True)
    text = advice(rows)
    if norm is None or norm < 1:
        assert (
            "`--model.frozen []` and loss weights above 0 (camera 5, depth 1): the gradient norm of depth_head" in text
        )
    else:
        assert f"since gradient norm after the first tenth, depth_head reached {value:.3g}" in text


def test_gradients_are_not_judged_at_the_start_or_where_none_are_logged() -> None:
    rows = history()
    rows[0]["grad_norm/aggregator"] = 1e5
    assert failed(rows) == {}
    for row in rows:
        for name in ("grad_norm/aggregator", "grad_norm/depth_head"):
            row.pop(name)
    assert not any("gradient" in each.name for each in criteria(rows, 0, SETUP))


def test_validation_that_differs_from_training_fails() -> None:
    rows = history(val__loss_objective=0.3)
    assert failed(rows)[GAP] == pytest.approx(0.3)
    assert "one step changes the objective by 0.3 if both splits hold the same pair" in advice(rows)
    assert "no augmentation, since flip_augmentation changes" in advice(
        rows, replace(SETUP, augmented=("flip_augmentation",))
    )


def test_values_that_are_not_finite_fail() -> None:
    assert failed(history(), nonfinite=2) == {"non-finite values": 2}
    assert "since 2 values were not finite" in advice(history(), nonfinite=2)
    assert "absolute relative error" in failed(history(val__abs_rel=math.nan))


def change(**settings: Any) -> Setup:
    return replace(SETUP, **settings)


@pytest.mark.parametrize(
    ("setup", "text"),
    [
        (change(frozen=("aggregator.*",), frozen_share=0.85), "`--model.frozen []`, since `aggregator.*` keeps 85 %"),
        (change(valid_shares=(0.9, 0.04)), "only 4.0 % of the pixels of image 2 are valid"),
        (change(learning_rate=0.0), "`--model.learning_rate` above 0, since it is 0"),
        (change(is_pretrained=False), "`--model.published_checkpoint` with the published weights, since 100 epochs"),
        (SETUP, "as no number of this run points to one cause: learning rate (now 0.0001), frozen modules (now none)"),
        (SETUP, "depth and mask files (valid: 90 % and 60 %), loss weights (now camera 5 × 0.05, depth 1 × 0.25)"),
    ],
)
def test_advice_follows_the_numbers(setup: Setup, text: str) -> None:
    rows = history(end=0.5)
    assert {"objective", "camera loss", "depth loss"} <= failed(rows, setup).keys()
    assert text in advice(rows, setup)


def test_advice_on_loss_weights_names_the_smaller_loss() -> None:
    assert "_weight " not in advice(history(end=0.5))  # both are half of the errors
    rows = history(end=0.5, train__loss_camera=0.001, train__loss_reg_depth=0.5)
    lines = what_to_try(rows, criteria(rows, 0, SETUP), SETUP)
    (camera,) = (line for line in lines if "camera_weight" in line)
    assert camera.startswith("camera loss 0.05")
    assert "`--model.camera_weight 25` instead of 5, since camera is 1 % of the errors" in camera
    rows[-1] |= {"train/loss_camera": 1.0, "train/loss_reg_depth": 0.5}
    assert "`--model.depth_weight 5` instead of 1, since depth is 9 % of the errors" in advice(rows)


def test_a_run_that_still_falls_should_go_on() -> None:
    rows = history(20)
    for row in rows:
        row["train/loss_objective"] = row["val/loss_objective"] = 5 - row["epoch"] / 10
    text = advice(rows)
    assert (
        "`--trainer.max_epochs 200` or `--model.learning_rate 0.0003` instead of 0.0001, since the smoothed objective"
        in text
    )
    assert "still fell by 0.5 in the last 5 epochs" in text
    assert "since there were only 4" in advice(rows[:4])


def test_what_went_wrong_is_named() -> None:
    rows = history(end=0.5)
    judged = criteria(rows, 0, SETUP)
    lines = observations(rows, judged, SETUP, stopped="step 3: the loss is not finite")
    assert "The over-fit is not reached. The lowest values were objective 0.5 in epoch 100 (limit 0.01)" in lines[1]
    assert "rotation error 0.5° in epoch 100 (limit 0.5°)" in lines[1]
    assert lines[-1].startswith("What went wrong: training stopped: step 3: the loss is not finite; not met: objective")
    text = conclusion(judged, ["objective 0.5: try more epochs."])
    failed = f"The network does not memorise this pair; 5 of {len(judged)} criteria failed."
    assert text == f"{failed} Next step: more epochs. See docs/troubleshooting.md."
