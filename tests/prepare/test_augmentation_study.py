"""The study compares like with like, and writes what it found."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cli import main
from datamodules.spectrograms import find_spectrograms
from formats.errors import InputError
from formats.images import read_rgb, write_png
from formats.spectrogram_axes import SpectrogramAxes
from lightning_modules.classifier_training import fit_classifier
from prepare import augmentation_study as study
from tests.support.commands import USERS, write_spectrograms


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Real images of users 1, 2 and 5, and generated ones of users 1 and 5."""
    real, generated = write_spectrograms(tmp_path / "real", train=4, val=3), tmp_path / "generated"
    SpectrogramAxes(2.0, -1.0, 4.0).write(real)
    rng = np.random.default_rng(1)
    for user in (1, 5):
        for number in range(1, 6):
            image = rng.integers(0, 90, (64, 64, 3))
            image[12 + 16 * USERS.index(user) : 18 + 16 * USERS.index(user)] += 150
            write_png(generated / f"micro_doppler_user{user:02d}_{number:03d}.png", image.astype(np.uint8))
    return real, generated


def test_both_kinds_are_trained_alike_and_results_are_written(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Tensor, Tensor, int, int]] = []

    def quick(images: Tensor, users: Tensor, num_users: int, seed: int, steps: int, device: torch.device) -> Any:
        assert num_users == 2  # user 2 has no samples
        calls.append((images, users, seed, steps))
        means = torch.stack([images[users == user].double().mean(0) for user in range(num_users)]).flatten(1)
        return lambda tested: -torch.cdist(tested.double().flatten(1), means)

    monkeypatch.setattr(study, "fit_classifier", quick)
    real, generated = folders
    out = tmp_path / "study"
    main(["prepare", "augmentation-study", f"--real={real}", f"--generated={generated}", f"--out={out}",
          "--counts", "1", "3", "--seeds", "2"])  # fmt: skip
    assert [len(users) for _, users, _, _ in calls] == [2, 12, 2, 12, 6, 16, 6, 16]
    for alone, both in zip(calls[::2], calls[1::2], strict=True):
        assert alone[2:] == both[2:]
        assert torch.equal(alone[0], both[0][: len(alone[0])])
        assert alone[1].bincount().unique().numel() == 1
    assert not torch.equal(calls[0][0], calls[2][0])  # other seeds draw other images

    with (out / "accuracy.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    results = json.loads((out / "study.json").read_text())
    first = [float(row["accuracy"]) for row in rows if (row["real_per_user"], row["training"]) == ("1", "real")]
    assert results["accuracy"][0]["real_mean"] == pytest.approx(np.mean(first))
    assert results["accuracy"][0]["real_std"] == pytest.approx(np.std(first, ddof=1))
    with (out / "measures.csv").open() as stream:
        measures = list(csv.DictReader(stream))
    speeds = {row["user"]: row for row in measures if row["measure"] == "torso_speed"}
    assert speeds.keys() == {"1", "5"}
    for user in (1, 5):  # zero Doppler is at 0.8 of the height, which is 5 m/s
        expected = 5 * (0.8 - (15 + 16 * USERS.index(user)) / 64)
        assert float(speeds[str(user)]["real_mean"]) == pytest.approx(expected, abs=0.1)
        assert float(speeds[str(user)]["generated_mean"]) == pytest.approx(expected, abs=0.1)
        assert (speeds[str(user)]["real_images"], speeds[str(user)]["generated_images"]) == ("7", "5")
    text = (out / "study.md").read_text()
    assert "| Torso speed, m/s | 1 |" in text
    assert text.count("\n| 1 | ") == 1
    assert read_rgb(out / "accuracy.png").shape[0] > 300


def test_studies_that_cannot_be_made_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    real, generated = folders
    out = tmp_path / "out"
    with pytest.raises(InputError, match="has 4 training images of user 1, fewer than 16. Choose lower --counts"):
        study.augmentation_study(real, generated, out)
    with pytest.raises(InputError, match="--seeds: must be at least 2"):
        study.augmentation_study(real, generated, out, seeds=1)
    with pytest.raises(InputError, match="holds no samples"):
        study.augmentation_study(real, tmp_path, out, [2])
    for path in generated.glob("*user05*"):
        path.unlink()
    with pytest.raises(InputError, match="holds samples of one user, 1"):
        study.augmentation_study(real, generated, out, [2])
    assert not out.exists()


def test_without_axes_units_are_those_of_the_image(folders: tuple[Path, Path]) -> None:
    real, _ = folders
    files = find_spectrograms(real, "val")
    images = study._load([file for file in files if file.user_id != 2], [1, 5], None)
    rows = study._compare_measures(images, images, images, [1, 5], None)
    assert {row["measure"]: row["unit"] for row in rows}["torso_speed"] == "image heights"
    assert rows[0]["real_mean"] == pytest.approx(0.8 - 15 / 64, abs=0.02)


def _write_bands(folder: Path, name: str, count: int, rows: dict[int, int | None], seed: int) -> None:
    """Write ``count`` noisy images per user with a bright band at the user's row, or without one."""
    rng = np.random.default_rng(seed)
    for user, row in rows.items():
        for number in range(1, count + 1):
            image = rng.integers(0, 90, (64, 64, 3))
            if row is not None:
                image[row : row + 6] += 150
            write_png(folder / name.format(user=user, number=number), image.astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(("bands", "accuracy"), [({1: 10, 2: 40}, 1.0), ({1: 40, 2: 10}, 0.0)])
def test_generated_images_decide_where_real_ones_show_nothing(
    bands: dict[int, int | None], accuracy: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real training images hold no band, so that bands at the right and at the wrong rows give 1 and 0."""

    def short(images: Tensor, users: Tensor, num_users: int, seed: int, steps: int, device: torch.device) -> Any:
        return fit_classifier(images, users, num_users, seed, steps // 4, device=device)

    monkeypatch.setattr(study, "fit_classifier", short)
    real, generated = tmp_path / "real", tmp_path / "generated"
    _write_bands(real, "train/ID_{user}/{number:03d}.png", 3, {1: None, 2: None}, seed=0)
    _write_bands(real, "val/ID_{user}/{number:03d}.png", 8, {1: 10, 2: 40}, seed=1)
    _write_bands(generated, "micro_doppler_user{user:02d}_{number:03d}.png", 12, bands, seed=2)
    study.augmentation_study(real, generated, tmp_path / "out", [2], 2)
    entry = json.loads((tmp_path / "out/study.json").read_text())["accuracy"][0]
    assert entry["real_mean"] == pytest.approx(0.5, abs=0.4)
    assert entry["with_generated_mean"] == accuracy
