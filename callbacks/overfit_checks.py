"""Judgement of an over-fit test from the numbers of the run: criteria, observations and what to try."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from exporters.visualization.overfit_report import Criterion
from lightning_modules.training_steps import GRADIENT_NORMS

History = Sequence[Mapping[str, float]]
OBJECTIVE = "train/loss_objective"

LIMITS = (
    ("objective", "val/loss_objective", 0.01, ""),
    ("camera loss", "val/loss_camera", 0.001, ""),
    ("depth loss", "val/loss_reg_depth", 0.01, ""),
    ("absolute relative error", "val/abs_rel", 0.02, ""),
    ("rotation error", "val/rotation_error", 0.5, "°"),
)
CAMERA_CRITERIA = ("camera loss", "rotation error")
FALL, RISES = "change of the smoothed objective", "epochs in which the smoothed objective rises"
GAP = "validation minus training objective"
NON_FINITE = "non-finite values"
MAX_RISES = 35.0  # percent; noise alone gives 50, and runs that memorise the pair about 20
MAX_GAP = 0.05  # of objectives that start between 1 and 10
NORMS = 1e-6, 1e3  # of a part of the network, before clipping, after the first tenth of the epochs
FEW = 10  # epochs, of which nothing follows but that more are needed
SMALL_SHARE = 0.2  # of valid pixels, or of the objective


@dataclass(frozen=True)
class Setup:
    """Settings and data of a run that may explain its failure.

    Args:
        learning_rate: Peak learning rate.
        epochs: Number of epochs that were planned.
        frozen: Patterns of frozen parameters.
        frozen_share: Share of the parameters that are frozen.
        trained_parts: Parts of the network with trained parameters.
        valid_shares: Share of valid pixels of each image.
        camera_weight: Weight of the camera loss in the objective.
        depth_weight: Weight of the depth terms.
        is_pretrained: Whether training started from published weights.
        augmented: Options of augmentation that are on.
    """

    learning_rate: float
    epochs: int
    frozen: tuple[str, ...] = ()
    frozen_share: float = 0.0
    trained_parts: tuple[str, ...] = ()
    valid_shares: tuple[float, ...] = ()
    camera_weight: float = 5.0
    depth_weight: float = 1.0
    is_pretrained: bool = False
    augmented: tuple[str, ...] = ()


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running means over a tenth of the values, or a few more if they are few.

    Example:
        >>> smoothed([float(n) for n in range(20)])[:3]
        [2.0, 3.0, 4.0]
    """
    width = window(len(values))
    return [sum(values[start : start + width]) / width for start in range(len(values) - width + 1)]


def window(count: int) -> int:
    """Return the number of epochs that are averaged: a tenth, at least 5 but at most half."""
    return max(1, min(max(5, count // 10), count // 2))


def criteria(history: History, nonfinite: float, setup: Setup) -> list[Criterion]:
    """Return every criterion: limits of losses and errors at the last validation, and the course of the training."""
    last = next((row for row in reversed(history) if "val/loss_objective" in row), {})
    judged = []
    for name, key, limit, unit in LIMITS:
        value = last.get(key, math.nan)
        judged.append(Criterion(name, value, limit, value < limit, unit))
    smooth = smoothed([row.get(OBJECTIVE, math.nan) for row in history])
    fall = smooth[-1] - smooth[0] if len(smooth) > 1 else math.nan
    rises = 100 * sum(after > before for before, after in pairwise(smooth)) / max(1, len(smooth) - 1)
    gap = abs(last.get("val/loss_objective", math.nan) - last.get(OBJECTIVE, math.nan))
    judged += [
        Criterion(FALL, fall, 0, fall < 0),
        Criterion(RISES, rises, MAX_RISES, rises <= MAX_RISES, " %"),
        Criterion(GAP, gap, MAX_GAP, gap <= MAX_GAP),
    ]
    least, most = NORMS
    settled = history[window(len(history)) :]  # tokens of a new network have very large gradients at first
    for part, norms in gradient_norms(settled, setup).items():
        largest = max(norms, key=lambda norm: norm if math.isfinite(norm) else math.inf, default=0.0)
        judged.append(Criterion(gradient_name(part), largest, most, least <= largest <= most, least=least))
    return [*judged, Criterion(NON_FINITE, nonfinite, 0, nonfinite == 0)]


def gradient_name(part: str) -> str:
    """Return the name of the criterion of a part's gradients."""
    return f"largest gradient norm after the first tenth, {part}"


def gradient_norms(history: History, setup: Setup) -> dict[str, list[float]]:
    """Return the gradient norms of every trained part; none at all if they were not logged."""
    keys = dict.fromkeys(key for row in history for key in row if key.startswith(GRADIENT_NORMS))
    parts = dict.fromkeys([*(key.removeprefix(GRADIENT_NORMS) for key in keys), *setup.trained_parts])
    found = {part: [row[key] for row in history if (key := GRADIENT_NORMS + part) in row] for part in parts}
    return found if keys else {}


# --- observations ---


def observations(history: History, judged: Sequence[Criterion], setup: Setup, stopped: str = "") -> list[str]:
    """Describe the course of the training."""
    first, last = history[0], history[-1]
    value = {each.name: each.value for each in judged}
    verb = "falls" if value[FALL] < 0 else "does not fall"
    lines = [
        f"The training objective {verb}: {_number(first.get(OBJECTIVE))} in epoch {first['epoch']:g}, "
        f"{_number(last.get(OBJECTIVE))} in epoch {last['epoch']:g}. Smoothed over {_epochs(window(len(history)))}, it "
        f"rises in {value[RISES]:.0f} % of the epochs.",
        _reached(history),
        f"Final values: training objective {_number(last.get(OBJECTIVE))}, "
        + ", ".join(f"{each.name} {each.texts()[0]}" for each in judged[: len(LIMITS)])
        + " in validation.",
    ]
    for part, norms in gradient_norms(history, setup).items():
        if norms:
            lines.append(
                f"Gradient norm of {part}: {_number(norms[0])} at first, {_number(max(norms))} at most, "
                f"{_number(norms[-1])} at last."
            )
    failed = [each for each in judged if not each.passed]
    wrong = [f"training stopped: {stopped}"] if stopped else []
    wrong += [f"not met: {', '.join(each.name for each in failed)}"] if failed else []
    lines.append(f"What went wrong: {'; '.join(wrong)}." if wrong else "Nothing went wrong: all criteria are met.")
    return lines


def _reached(history: History) -> str:
    """Say when the over-fit was reached, or how near the run came."""
    rows = [row for row in history if "val/loss_objective" in row]
    for row in rows:
        if all(row.get(key, math.nan) < limit for _, key, limit, _ in LIMITS):
            return f"The over-fit is reached in epoch {row['epoch']:g}: all losses and errors are below their limits."
    near = []
    for name, key, limit, unit in LIMITS:
        best = min(
            (row for row in rows if key in row and math.isfinite(row[key])), key=lambda row: row[key], default=None
        )
        if best is not None and best[key] >= limit:
            near.append(f"{name} {best[key]:.3g}{unit} in epoch {best['epoch']:g} (limit {limit:g}{unit})")
    lowest = f" The lowest values were {', '.join(near)}." if near else ""
    return f"The over-fit is not reached.{lowest}"


def conclusion(judged: Sequence[Criterion], advice: Sequence[str]) -> str:
    """Conclude in a paragraph."""
    failed = [each.name for each in judged if not each.passed]
    if not failed:
        return (
            "The network memorises this pair: data, losses and gradients work together. Train on more pairs next, with "
            "`configs/pair_aerialmd.yaml`."
        )
    missed = [name for name in failed if name in {limit[0] for limit in LIMITS}]
    memorised = "does not memorise" if missed else "memorises"
    follow = f" Next step: {advice[0].partition('try ')[2]}" if advice else ""
    failures = f"{len(failed)} of {len(judged)} criteria failed"
    return f"The network {memorised} this pair; {failures}.{follow} See docs/troubleshooting.md."


# --- advice ---


def what_to_try(history: History, judged: Sequence[Criterion], setup: Setup) -> list[str]:
    """Say what to try for every criterion that failed, with the numbers that point to it.

    Criteria with the same advice share a sentence.
    """
    groups: dict[str, list[str]] = {}
    for each in judged:
        if not each.passed:
            tries = list(_tries(each, history, judged, setup)) or [_all_settings(history, setup)]
            groups.setdefault("; ".join(tries), []).append(f"{each.name} {each.texts()[0]}")
    return [f"{', '.join(names)}: try {tries}." for tries, names in groups.items()]


def _tries(failed: Criterion, history: History, judged: Sequence[Criterion], setup: Setup) -> Iterator[str]:
    """Yield what the numbers of the run point to, for a criterion that failed."""
    if failed.name == GAP:
        yield from _same_data(failed, setup)
    elif failed.name.startswith(gradient_name("")) and failed.value < NORMS[0]:
        part = failed.name.removeprefix(gradient_name(""))
        yield (
            f"`--model.frozen []` and loss weights above 0 (camera {setup.camera_weight:g}, depth "
            f"{setup.depth_weight:g}): the gradient norm of {part} is at most {failed.value:.3g}"
        )
    else:
        yield from _learning_rate(history, judged, setup)
        if failed.name in {name for name, *_ in LIMITS}:
            yield from _frozen(setup)
            yield from _valid_depth(setup)
            yield from _loss_weights(failed, history, setup)


def _learning_rate(history: History, judged: Sequence[Criterion], setup: Setup) -> Iterator[str]:
    value = {each.name: each.value for each in judged}
    rate, done = setup.learning_rate, len(history)
    unstable = [
        f"{each.name.removeprefix('largest ')} reached {each.value:.3g}"
        for each in judged
        if each.name.startswith(gradient_name("")) and not each.value <= NORMS[1]
    ]
    if value[RISES] > MAX_RISES and done >= FEW:
        unstable.append(f"the smoothed objective rose in {value[RISES]:.0f} % of the epochs")
    if value[NON_FINITE]:
        unstable.append(f"{value[NON_FINITE]:g} values were not finite")
    if unstable:
        yield f"`--model.learning_rate {rate / 3:.1g}` instead of {rate:g}, since {' and '.join(unstable)}"
        return
    if rate == 0:
        yield "`--model.learning_rate` above 0, since it is 0"
        return
    late = smoothed([row.get(OBJECTIVE, math.nan) for row in history])[-window(done) - 1 :]
    if done < FEW:
        yield f"more epochs, `--trainer.max_epochs 100`, since there were only {done}"
    elif late[0] - late[-1] > 0.02 * abs(value[FALL]):
        yield (
            f"`--trainer.max_epochs {2 * setup.epochs}` or `--model.learning_rate {3 * rate:.1g}` instead of {rate:g}, "
            f"since the smoothed objective still fell by {late[0] - late[-1]:.3g} in the last {_epochs(len(late) - 1)}"
        )
    elif not setup.is_pretrained:
        yield (
            f"`--model.published_checkpoint` with the published weights, since {_epochs(done)} from random weights at "
            f"a learning rate of {rate:g} ended at an objective of {_number(history[-1].get(OBJECTIVE))}"
        )


def _frozen(setup: Setup) -> Iterator[str]:
    if setup.frozen:
        patterns, share = ", ".join(setup.frozen), 100 * setup.frozen_share
        yield f"`--model.frozen []`, since `{patterns}` keeps {share:.0f} % of the parameters as they are"


def _valid_depth(setup: Setup) -> Iterator[str]:
    for view, share in enumerate(setup.valid_shares, start=1):
        if share < SMALL_SHARE:
            yield (
                f"another pair, or other depth and mask files, since only {100 * share:.1f} % of the pixels of image "
                f"{view} are valid (`python cli.py prepare check-pairs`)"
            )


def _loss_weights(failed: Criterion, history: History, setup: Setup) -> Iterator[str]:
    last = history[-1]
    camera = setup.camera_weight * last.get("train/loss_camera", 0.0)
    depth = setup.depth_weight * (last.get("train/loss_reg_depth", 0.0) + last.get("train/loss_grad_depth", 0.0))
    name, weight = ("camera", setup.camera_weight) if failed.name in CAMERA_CRITERIA else ("depth", setup.depth_weight)
    own, total = camera if name == "camera" else depth, camera + depth
    if failed.name == "objective" or not math.isfinite(total) or own >= SMALL_SHARE * total:
        return
    share = 100 * own / total
    yield (
        f"`--model.{name}_weight {5 * weight or 1:g}` instead of {weight:g}, since {name} is {share:.0f} % of the "
        "errors in the objective"
    )


def _same_data(failed: Criterion, setup: Setup) -> Iterator[str]:
    if setup.augmented:
        yield f"no augmentation, since {', '.join(setup.augmented)} changes the training images only"
    else:
        rate = setup.learning_rate
        yield (
            f"`--model.learning_rate {rate / 3:.1g}` instead of {rate:g}, since one step changes the objective by "
            f"{failed.value:.3g} if both splits hold the same pair (`python cli.py prepare check-pairs --config …`)"
        )


def _all_settings(history: History, setup: Setup) -> str:
    """List the settings to try where no number points to one of them."""
    valid = " and ".join(f"{100 * share:.0f} %" for share in setup.valid_shares) or "unknown"
    camera, depth = (_number(history[-1].get(f"train/loss_{name}")) for name in ("camera", "reg_depth"))
    return (
        f"in this order, as no number of this run points to one cause: learning rate (now {setup.learning_rate:g}), "
        f"frozen modules (now {', '.join(setup.frozen) or 'none'}), depth and mask files (valid: {valid}), loss "
        f"weights (now camera {setup.camera_weight:g} × {camera}, depth {setup.depth_weight:g} × {depth})"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
