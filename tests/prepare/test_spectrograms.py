"""Images of recordings: those of the simulator's own baseband are the simulator's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cli import main
from datamodules.spectrograms import find_spectrograms
from formats.errors import InputError
from formats.images import read_rgb
from formats.spectrogram_axes import SpectrogramAxes
from prepare.spectrograms import spectrograms
from simulators.radar.doppler import doppler_image, doppler_power
from simulators.radar.gait import Walker
from simulators.radar.spectrogram import Radar, radar_return

SMALL: dict[str, Any] = {"prf": 1000.0, "carrier_ghz": 24.0, "seconds": 0.5, "image_size": 64}


def save(path: Path, samples: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, samples)
    return path


def tone(speed: float, count: int = 1200) -> NDArray[np.complex128]:
    """Return of a target at a constant speed in m/s, in the radar of ``SMALL``."""
    doppler = 2 * speed * 24e9 / 299_792_458.0
    samples: NDArray[np.complex128] = np.exp(2j * np.pi * doppler * np.arange(count) / 1000)
    return samples


def speed_of(path: Path) -> float:
    """Speed of the brightest row of an image in m/s, on the axes of its folder."""
    axes, image = SpectrogramAxes.read(path.parents[2]), read_rgb(path)
    assert axes is not None
    row = image[..., 0].astype(float).mean(1).argmax()
    return float(axes.high_speed - axes.speed_range * row / (len(image) - 1))


def users(root: Path, samples: NDArray[Any] | None = None, count: int = 3) -> Path:
    """Write recordings of two users in a folder each."""
    for user in ("ID_2", "ID_5"):
        for number in range(count):
            save(root / user / f"walk{number}.npy", tone(2.0) if samples is None else samples)
    return root


@pytest.mark.parametrize("carrier_ghz", [77.0, 24.0])
def test_images_of_the_simulators_baseband_are_its_own(tmp_path: Path, carrier_ghz: float) -> None:
    radar = Radar(carrier_ghz=carrier_ghz)
    signal = radar_return(Walker(), radar, np.random.default_rng(0))
    for split in ("train", "val"):
        save(tmp_path / "recordings" / split / "ID_3" / "walk.npy", signal)
    main(
        ["prepare", "spectrograms", f"--recordings={tmp_path / 'recordings'}", f"--out={tmp_path / 'out'}",
         f"--prf={radar.sample_rate}", f"--carrier_ghz={carrier_ghz}", "--low_speed=-1.5", "--high_speed", "6"]
    )  # fmt: skip
    settings = radar.image_settings
    doppler_hz, _, power_db = doppler_power(signal, settings)
    images = find_spectrograms(tmp_path / "out", "train")
    assert [(file.path.name, file.user_id) for file in images] == [("walk_001.png", 3)]
    assert np.array_equal(read_rgb(images[0].path), doppler_image(doppler_hz, power_db, settings))
    assert SpectrogramAxes.read(tmp_path / "out") == SpectrogramAxes(settings.seconds, -1.5, 6.0)


def test_range_gate_mirror_and_static_targets(tmp_path: Path) -> None:
    cube = np.stack([30 + tone(-2.0), 30 + tone(1.0), 30 + tone(2.5)])
    options: dict[str, Any] = {**SMALL, "colormap": "gray"}
    recordings = {"cube": cube, "turned": cube.T, "plain": cube[2]}
    for name, samples in recordings.items():
        users(tmp_path / name, samples)
    cases: dict[str, tuple[str, dict[str, Any], float]] = {
        "static": ("plain", {}, 0.0),
        "moving": ("plain", {"remove_static": True}, 2.5),
        "gate": ("cube", {"range_gate": [1, 1], "remove_static": True}, 1.0),
        "mirror": ("cube", {"range_gate": [0, 0], "remove_static": True, "flip_doppler": True}, 2.0),
        "turned": ("turned", {"range_gate": [2, 2], "remove_static": True, "transpose": True}, 2.5),
        "overlap": ("plain", {"remove_static": True, "overlap": 0.75, "window_length": 64}, 2.5),
    }
    for name, (source, more, speed) in cases.items():
        out = tmp_path / "out" / name
        spectrograms(tmp_path / source, out, **options, **more)
        image = find_spectrograms(out, "train")[0].path
        assert read_rgb(image).shape == (64, 64, 3)
        assert speed_of(image) == pytest.approx(speed, abs=0.15), name


def test_recordings_are_cut_into_images_in_order(tmp_path: Path) -> None:
    speeds = np.repeat([1.0, 2.0], 700)
    steps = np.exp(2j * np.pi * np.cumsum(2 * speeds * 24e9 / 299_792_458.0) / 1000)
    spectrograms(users(tmp_path / "in", steps), tmp_path / "out", **SMALL, colormap="gray", stride=0.7)
    images = sorted((tmp_path / "out/train/ID_2").iterdir())
    assert [path.name[-7:] for path in images[:2]] == ["001.png", "002.png"]
    assert [speed_of(path) for path in images[:2]] == pytest.approx([1.0, 2.0], abs=0.15)


def test_users_are_split_by_recording(tmp_path: Path) -> None:
    spectrograms(users(tmp_path / "in", count=5), tmp_path / "out", **SMALL, val_share=0.4)
    stems: dict[str, set[str]] = {}
    for split in ("train", "val"):
        files = find_spectrograms(tmp_path / "out", split)
        assert {file.user_id for file in files} == {2, 5}
        stems[split] = {file.path.stem[:-4] for file in files if file.user_id == 2}
    assert (len(stems["train"]), len(stems["val"])) == (3, 2)
    assert not stems["train"] & stems["val"]
    (tmp_path / "in/ID_2").rename(tmp_path / "in/zoe")
    (tmp_path / "in/ID_5").rename(tmp_path / "in/adam")
    spectrograms(tmp_path / "in", tmp_path / "named", **SMALL)
    record = json.loads((tmp_path / "named/recordings.json").read_text())["recordings"]
    assert all(image.split("/")[1] == ("ID_1" if "adam" in name else "ID_2") for name, image in record.items())


def test_a_second_run_completes_and_other_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = users(tmp_path / "in"), tmp_path / "out"
    spectrograms(source, out, **SMALL)
    removed = sorted(out.rglob("*.png"))[0]
    before = removed.read_bytes()
    removed.unlink()
    capsys.readouterr()
    spectrograms(source, out, **SMALL)
    assert "wrote 1 spectrograms of users 2, 5 from 6 recordings" in capsys.readouterr().out
    assert removed.read_bytes() == before
    with pytest.raises(InputError, match="other settings"):
        spectrograms(source, out, **{**SMALL, "prf": 900.0})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    with pytest.raises(InputError, match="is not a dataset of this tool"):
        spectrograms(source, tmp_path / "mine", **SMALL)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"prf": 0.0}, "--prf: must be above 0"),
        ({"high_speed": 9.0}, r"--high_speed: .* not within the unambiguous speeds, ±3.12 m/s"),
        ({"range_gate": [0, 4]}, "npy: has 1 range bins"),
        ({"range_gate": [3]}, "--range_gate: must be the first and the last bin"),
        ({"seconds": 3.0}, r"npy: holds 1200 samples of slow time \(1.2 s\), but an image needs"),
        ({"window_length": 8, "seconds": 1.0}, "--window_length: is 8 samples"),
        ({"overlap": 1.0}, "--overlap: must be from 0"),
        ({"colormap": "jett"}, "colormap: matplotlib does not have 'jett'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        spectrograms(users(tmp_path / "in"), tmp_path / "out", **{**SMALL, **settings})
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        spectrograms(tmp_path / "none", tmp_path / "out", **SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recordings were found"):
        spectrograms(tmp_path / "empty", tmp_path / "out", **SMALL)
    with pytest.raises(InputError, match="ID_2: holds one recording"):
        spectrograms(users(tmp_path / "one", count=1), tmp_path / "out", **SMALL)
    save(tmp_path / "half/train/ID_1/a.npy", tone(1.0))
    with pytest.raises(InputError, match="has no recordings in val"):
        spectrograms(tmp_path / "half", tmp_path / "out", **SMALL)
    source = users(tmp_path / "twice")
    np.savez(source / "ID_2/walk0.npz", iq=tone(1.0))
    with pytest.raises(InputError, match=r"walk0.*are both called walk0"):
        spectrograms(source, tmp_path / "out", **SMALL)
    save(source / "ID_5/walk2.npy", np.ones((1200, 2), complex))
    (source / "ID_2/walk0.npz").unlink()
    with pytest.raises(InputError, match="--transpose true"):
        spectrograms(source, tmp_path / "out", **SMALL)
