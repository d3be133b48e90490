"""Does it help? Identification with and without generated spectrograms, and measures of both kinds in plain units."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.sample_requests import find_samples
from datamodules.spectrogram_folders import SpectrogramFile
from datamodules.spectrograms import SpectrogramDataset, find_spectrograms
from exporters.visualization.augmentation_study import accuracy_figure
from formats.atomic import write_json, write_text
from formats.errors import InputError, check_settings
from formats.images import write_png
from formats.spectrogram_axes import SpectrogramAxes
from lightning_modules.classifier_training import fit_classifier
from metrics.spectrogram_units import WALK_MEASURES, walk_measures
from networks.spectrogram_classifier import shrink
from prepare.output_folder import claim_folder

RECORD = "study_settings.json"
KINDS = ("real", "real + generated")
_BATCH = 64  # images read at once
_NO_AXES = SpectrogramAxes(1.0, -0.2, 0.8)  # heights and widths of simulated images


@dataclass(frozen=True)
class Images:
    """Small images and measures of one kind.

    Args:
        small: (N, 3, 64, 64) uint8.
        users: (N,) class indices.
        measures: (N, 4), see `walk_measures`.
    """

    small: Tensor
    users: Tensor
    measures: Tensor


def augmentation_study(
    real: Path,
    generated: Path,
    out: Path,
    counts: list[int] | None = None,
    seeds: int = 5,
    generated_per_user: int | None = None,
) -> None:
    """Train a classifier on few real images, with and without generated ones, and compare its accuracy.

    For each of `counts`, n, and each seed it draws n real training images of every user, trains on them alone and
    together with the generated images, with equally many steps, and tests on all real validation images. It also
    measures torso speed, step rate, envelope and breaks of the torso line of both kinds. Writes study.md, study.json,
    accuracy.csv, measures.csv and accuracy.png. A fair generator has not seen more than these n images.

    Args:
        real: Folder of real spectrograms with train/ID_<n>/*.png and val/ID_<n>/*.png.
        generated: Folder that `predict` of a generator wrote.
        out: Folder of the results: new, empty, or written before with the same settings.
        counts: Real images per user; by default 4, 8 and 16.
        seeds: Repetitions for each number, at least 2, with other images and initial weights.
        generated_per_user: Generated images of each user to add; by default all.

    Raises:
        InputError: There are too few users or images, or `out` holds other files.
    """
    counts = sorted(counts or [4, 8, 16])
    check_settings(
        {
            "--counts": ("at least 1", counts[0] >= 1),
            "--seeds": ("at least 2", seeds >= 2),
            "--generated_per_user": ("at least 1", generated_per_user is None or generated_per_user >= 1),
        }
    )
    splits = {split: find_spectrograms(real, split) for split in ("train", "val")}
    own = [{file.user_id for file in files} for files in splits.values()]
    samples = find_samples(generated, sorted(own[0] & own[1]))
    users = list(samples)
    if len(users) < 2:
        fault = f"holds samples of one user, {users[0]}, and nobody can be confused with anybody"
        raise InputError(generated, fault, "Generate samples of two users or more.")
    for user in users:
        available = sum(file.user_id == user for file in splits["train"])
        if available < counts[-1]:
            fault = f"has {available} training images of user {user}, fewer than {counts[-1]}"
            raise InputError(real, fault, f"Choose lower --counts, such as --counts {available}.")
    settings = {"real": str(real), "generated": str(generated), "counts": counts, "seeds": seeds}
    claim_folder(Path(out), {**settings, "generated_per_user": generated_per_user}, RECORD)

    axes = SpectrogramAxes.read(real)
    made = [SpectrogramFile(path, user) for user in users for path in samples[user][:generated_per_user]]
    train, val = (
        _load([file for file in splits[split] if file.user_id in users], users, axes) for split in ("train", "val")
    )
    added = _load(made, users, axes)
    runs = _accuracies(train, val, added, counts, seeds, len(users))
    measures = _compare_measures(train, val, added, users, axes)
    summary = _summary(runs, counts)
    _write(Path(out), settings, runs, summary, measures, len(added.users), len(users))
    print(f"{out}: study.md, study.json, accuracy.csv, measures.csv, accuracy.png")


def _load(files: list[SpectrogramFile], users: list[int], axes: SpectrogramAxes | None) -> Images:
    dataset, small, tables = SpectrogramDataset(files, resize=True), [], []
    for start in range(0, len(files), _BATCH):
        images = dataset.__getitems__(list(range(start, min(start + _BATCH, len(files)))))["images"]
        small.append(shrink(images))
        tables.append(walk_measures(images, axes or _NO_AXES))
    classes = torch.tensor([users.index(file.user_id) for file in files])
    return Images(torch.cat(small), classes, torch.cat(tables))


def _accuracies(
    train: Images, val: Images, added: Images, counts: list[int], seeds: int, num_users: int
) -> list[dict[str, Any]]:
    """Train and test each pair of classifiers."""
    runs: list[dict[str, Any]] = []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for count in counts:
        for seed in range(seeds):
            rows = _draw(train.users, count, seed)
            images, users = torch.cat([train.small[rows], added.small]), torch.cat([train.users[rows], added.users])
            steps = max(240, math.ceil(10 * len(users) / 32))  # the same for both, so that only the images differ
            for kind, size in zip(KINDS, (len(rows), len(users)), strict=True):
                classifier = fit_classifier(images[:size], users[:size], num_users, seed, steps, device=device)
                found = torch.cat([classifier(part.to(device)).argmax(1).cpu() for part in val.small.split(256)])
                right = found == val.users
                accuracy = float(right.double().mean())
                runs.append(
                    {"real_per_user": count, "training": kind, "seed": seed, "images": size, "accuracy": accuracy}
                )
            print(
                f"{count} real images per user, seed {seed}: {runs[-2]['accuracy']:.3f} alone, "
                f"{runs[-1]['accuracy']:.3f} with generated ones",
                flush=True,
            )
    return runs


def _draw(users: Tensor, count: int, seed: int) -> Tensor:
    """Draw ``count`` rows of each user."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for user in users.unique():
        rows = (users == user).nonzero().flatten()
        drawn.append(rows[torch.randperm(len(rows), generator=generator)[:count]])
    return torch.cat(drawn)


def _summary(runs: list[dict[str, Any]], counts: list[int]) -> list[dict[str, float]]:
    """Return means and standard deviations over the seeds, of both kinds and of their difference."""
    entries = []
    for count in counts:
        alone, both = (
            torch.tensor([run["accuracy"] for run in runs if (run["real_per_user"], run["training"]) == (count, kind)])
            for kind in KINDS
        )
        entry: dict[str, float] = {"real_per_user": count}
        for name, values in (("real", alone), ("with_generated", both), ("difference", both - alone)):
            entry |= {f"{name}_mean": float(values.double().mean()), f"{name}_std": float(values.double().std())}
        entries.append(entry)
    return entries


def _compare_measures(
    train: Images, val: Images, added: Images, users: list[int], axes: SpectrogramAxes | None
) -> list[dict[str, Any]]:
    """Return mean and standard deviation of each measure of each user's real and generated images."""
    measures = torch.cat([train.measures, val.measures])
    classes = torch.cat([train.users, val.users])
    rows = []
    for place, (name, (_, unit)) in enumerate(WALK_MEASURES.items()):
        shown = unit if axes or unit == "per image" else {"m/s": "image heights", "1/s": "per image width"}[unit]
        for label, user in enumerate(users):
            row: dict[str, Any] = {"measure": name, "unit": shown, "user": user}
            for kind, values in (
                ("real", measures[classes == label]),
                ("generated", added.measures[added.users == label]),
            ):
                column = values[:, place]
                row |= {f"{kind}_mean": float(column.mean()), f"{kind}_std": float(column.std(correction=0))}
                row[f"{kind}_images"] = len(column)
            rows.append(row)
    return rows


def _write(
    out: Path,
    settings: dict[str, Any],
    runs: list[dict[str, Any]],
    summary: list[dict[str, float]],
    measures: list[dict[str, Any]],
    num_generated: int,
    num_users: int,
) -> None:
    write_text(out / "accuracy.csv", _csv(runs))
    write_text(out / "measures.csv", _csv(measures))
    write_json(out / "study.json", {**settings, "accuracy": summary, "runs": runs, "measures": measures})
    write_png(out / "accuracy.png", accuracy_figure(summary, num_users))
    write_text(out / "study.md", report(summary, measures, settings["seeds"], num_generated, num_users))


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def report(
    summary: list[dict[str, float]], measures: list[dict[str, Any]], seeds: int, num_generated: int, num_users: int
) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Do generated spectrograms help?",
        "",
        f"Accuracy in identifying {num_users} users on real validation images, mean ± standard deviation over {seeds} "
        f"seeds. Training adds {num_generated} generated images. Guessing: {1 / num_users:.1%}.",
        "",
        "| real images per user | real alone | real and generated | difference |",
        "|---|---|---|---|",
    ]
    for entry in summary:
        alone, both, gain = (
            f"{100 * entry[f'{name}_mean']:{sign}.1f} ± {100 * entry[f'{name}_std']:.1f} %"
            for name, sign in (("real", ""), ("with_generated", ""), ("difference", "+"))
        )
        lines.append(f"| {entry['real_per_user']:g} | {alone} | {both} | {gain} |")
    lines += [
        "",
        "A generator that was trained on more real images than a row has brings in what it learnt from them; for a "
        "fair comparison, train it on that many.",
        "",
        "## Measures of the walk",
        "",
        "Mean ± standard deviation over the images of a user.",
        "",
        "| measure | user | real | generated |",
        "|---|---|---|---|",
    ]
    for row in measures:
        label = f"{WALK_MEASURES[row['measure']][0]}, {row['unit']}"
        real, made = (f"{row[f'{kind}_mean']:.2f} ± {row[f'{kind}_std']:.2f}" for kind in ("real", "generated"))
        lines.append(f"| {label} | {row['user']} | {real} | {made} |")
    return "\n".join(lines) + "\n"
