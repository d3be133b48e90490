"""The simulated dataset: its files, its repeatability, and that its users can be identified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from formats.errors import InputError
from prepare.microdoppler_sample import draw_users, microdoppler_sample, user_id
from simulators.radar.spectrogram import Radar, walking_image


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("microdoppler") / "data"
    microdoppler_sample(root, num_users=5, train_per_user=10, val_per_user=5)
    return root


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


def features(path: Path) -> NDArray[np.float64]:
    """Mean and spread over time of 64 rows: what does not depend on the phase at which the image begins."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("RGB"), dtype=np.float64).sum(axis=-1).reshape(64, 4, 256).mean(axis=1)
    return np.concatenate([grey.mean(axis=1), grey.std(axis=1)])


def test_layout(sample: Path) -> None:
    ids = ["ID_1", "ID_2", "ID_4", "ID_5", "ID_7"]
    for split, count in (("train", 10), ("val", 5)):
        assert sorted(folder.name for folder in (sample / split).iterdir()) == ids
        for name in ids:
            expected = [f"{name}_{number:04d}.png" for number in range(1, count + 1)]
            assert sorted(path.name for path in (sample / split / name).iterdir()) == expected
    with Image.open(sample / "val/ID_7/ID_7_0005.png") as image:
        assert (image.size, image.mode) == ((256, 256), "RGB")
    simulation = json.loads((sample / "simulation.json").read_text())
    assert list(simulation["users"]) == ids
    assert simulation["radar"]["carrier_ghz"] == 77.0


def test_ids_have_gaps() -> None:
    assert [user_id(position) for position in range(7)] == [1, 2, 4, 5, 7, 8, 10]


def test_no_two_images_are_the_same(sample: Path) -> None:
    files = files_of(sample)
    assert len(set(files.values())) == len(files) == 75


def test_held_out_samples_are_identified(sample: Path) -> None:
    names = sorted(folder.name for folder in (sample / "train").iterdir())
    train = {name: np.array([features(p) for p in sorted((sample / "train" / name).iterdir())]) for name in names}
    scale = np.concatenate(list(train.values())).std(axis=0) + 1e-6
    centroids = np.array([train[name].mean(axis=0) for name in names]) / scale
    right = []
    for label, name in enumerate(names):
        for path in (sample / "val" / name).iterdir():
            right.append(np.linalg.norm(features(path) / scale - centroids, axis=-1).argmin() == label)
    assert np.mean(right) >= 0.8
    within = np.mean([np.linalg.norm(x / scale - x.mean(axis=0) / scale, axis=-1).mean() for x in train.values()])
    assert within > 0.5  # samples of one user vary


def test_users_are_spread_out_and_do_not_depend_on_their_number() -> None:
    for seed in range(5):
        users = draw_users(8, seed)
        assert {key: users[key] for key in (1, 2, 4)} == draw_users(3, seed)
        looks = np.array([(w.speed / 0.85, w.step_rate / 1.5, 0.3 * w.arm_swing) for w in users.values()])
        distances = np.linalg.norm(looks[:, None] - looks, axis=-1) + np.eye(8)
        assert distances.min() > 0.1
        assert np.ptp(looks[:, 0]) > 0.5
    assert draw_users(1, 0) != draw_users(1, 1)


@pytest.mark.slow
def test_every_drawn_user_fits_the_radar() -> None:
    for seed in range(3):
        for walker in draw_users(8, seed).values():
            image = walking_image(walker, Radar(carrier_ghz=24.0), np.random.default_rng(seed))
            assert image.shape == (256, 256, 3)
            assert image.std() > 10  # a signature, not an empty spectrogram


def test_a_sample_does_not_depend_on_how_many_there_are(sample: Path, tmp_path: Path) -> None:
    microdoppler_sample(tmp_path / "few", num_users=2, train_per_user=2, val_per_user=1)
    few, many = files_of(tmp_path / "few"), files_of(sample)
    assert len(few) == 6
    assert all(many[name] == content for name, content in few.items())


def test_a_second_run_completes_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    microdoppler_sample(out, num_users=1, train_per_user=2, val_per_user=1, carrier_ghz=24.0, seed=4)
    assert "wrote 3 spectrograms" in capsys.readouterr().out
    before = files_of(out)
    (out / "train/ID_1/ID_1_0002.png").unlink()
    kept = (out / "train/ID_1/ID_1_0001.png").stat().st_mtime_ns
    microdoppler_sample(out, num_users=1, train_per_user=2, val_per_user=1, carrier_ghz=24.0, seed=4)
    assert "wrote 1 spectrograms" in capsys.readouterr().out
    assert files_of(out) == before
    assert (out / "train/ID_1/ID_1_0001.png").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match="other settings"):
        microdoppler_sample(out, num_users=1, train_per_user=2, val_per_user=1, carrier_ghz=24.0, seed=5)
    assert files_of(out) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a dataset of this tool"):
        microdoppler_sample(tmp_path)
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        microdoppler_sample(tmp_path)
    with pytest.raises(InputError, match=r"notes\.txt"):
        microdoppler_sample(tmp_path / "notes.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "simulation.json"]


@pytest.mark.parametrize(
    "wrong",
    [{"num_users": 0}, {"train_per_user": 0}, {"val_per_user": -1}, {"carrier_ghz": 0.0}, {"seed": -1}],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        microdoppler_sample(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()
