"""Simulated micro-Doppler dataset: one folder of spectrogram images per walking person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from formats.errors import InputError
from formats.images import write_png
from formats.progress import progress
from formats.spectrogram_axes import SpectrogramAxes
from prepare.output_folder import claim_folder
from simulators.radar.doppler import COLORMAP
from simulators.radar.gait import Walker
from simulators.radar.spectrogram import MAX_ASPECT, MAX_SPEED_CHANGE, Radar, walking_image

SPLITS = ("train", "val")
CANDIDATES = 64  # walkers drawn per user; the one most different from the earlier users is kept


def microdoppler_sample(
    out: Path,
    num_users: int = 5,
    train_per_user: int = 96,
    val_per_user: int = 24,
    carrier_ghz: float = 77.0,
    seed: int = 0,
) -> None:
    """Simulate walking people seen by a radar and write their spectrograms as 256×256 RGB images.

    Writes ``<out>/train/ID_<n>/ID_<n>_<0001>.png``, ``<out>/val/…``, ``<out>/axes.json`` with time and speeds of an
    image, and ``<out>/simulation.json`` with every user's parameters. User IDs begin at 1 and have gaps (1, 2, 4, 5,
    7 …), as in real datasets. A second run with the same settings writes missing images only. A user does not depend
    on the number of users, nor an image on the number of images.

    Args:
        out: Folder of the dataset: new, empty, or written before with the same settings.
        num_users: Number of people to simulate.
        train_per_user: Images per person in ``train``.
        val_per_user: Images per person in ``val``.
        carrier_ghz: Carrier frequency of the radar in GHz, for example 24 or 77.
        seed: Seed of people and images.

    Raises:
        InputError: A number is out of range, or ``out`` holds other files.
    """
    counts = {"num_users": num_users, "train_per_user": train_per_user, "val_per_user": val_per_user}
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"--{name}", f"must be at least 1, not {count}", "Choose a larger number.")
    if seed < 0:
        raise InputError("--seed", f"must be at least 0, not {seed}", "Choose another seed.")
    radar, users = Radar(carrier_ghz=carrier_ghz), draw_users(num_users, seed)
    simulation = {
        "seed": seed,
        "train_per_user": train_per_user,
        "val_per_user": val_per_user,
        "colormap": COLORMAP,
        "max_aspect_degrees": MAX_ASPECT,
        "max_speed_change": MAX_SPEED_CHANGE,
        "radar": asdict(radar),
        "users": {f"ID_{user}": asdict(walker) for user, walker in users.items()},
    }
    out = Path(out)
    claim_folder(out, simulation)
    SpectrogramAxes(radar.image_settings.seconds, radar.low_speed, radar.high_speed).write(out)

    samples = list(_samples(out, list(users), (train_per_user, val_per_user)))
    missing = [sample for sample in samples if not sample[0].exists()]
    # Threads, since NumPy and the PNG encoder release the GIL, and another process would have to import everything.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        written = pool.map(partial(_write, users, radar, seed), missing)
        for _ in progress(written, "spectrograms", len(missing)):
            pass
    kept = f" ({len(samples) - len(missing)} existed)" if len(missing) < len(samples) else ""
    print(f"{out}: wrote {len(missing)} spectrograms of {num_users} users at {carrier_ghz:g} GHz{kept}")


def user_id(position: int) -> int:
    """Return the ID of the user at ``position`` 0, 1, 2 …: 1, 2, 4, 5, 7 …, every third number is skipped."""
    return position + position // 2 + 1


def draw_users(num_users: int, seed: int) -> dict[int, Walker]:
    """Draw walkers that differ visibly, by user ID.

    Each is the farthest out of ``CANDIDATES`` from all earlier users in the features of a spectrogram: mainly
    speed and step rate, then arm swing and asymmetry.
    """
    users: dict[int, Walker] = {}
    for position in range(num_users):
        rng = np.random.default_rng([seed, 0, user_id(position)])
        candidates = [Walker.draw(rng) for _ in range(CANDIDATES if users else 1)]
        features = np.array([_appearance(walker) for walker in candidates])
        earlier = np.array([_appearance(walker) for walker in users.values()]).reshape(1, -1, features.shape[1])
        nearest = np.linalg.norm(features[:, None] - earlier, axis=-1).min(axis=1, initial=np.inf)
        users[user_id(position)] = candidates[int(nearest.argmax())]
    return users


def _appearance(walker: Walker) -> tuple[float, ...]:
    """Return a walker's features, scaled so that a distance of 1 is about the range of walking speeds."""
    return (
        walker.speed / 0.85,
        walker.step_rate / 1.5,
        0.4 * walker.arm_swing / 1.1,
        0.3 * walker.asymmetry / 0.6,
    )


Sample = tuple[Path, int, int, int]  # file, split's position in SPLITS, user ID, number from 1


def _samples(out: Path, ids: list[int], per_user: tuple[int, int]) -> Iterator[Sample]:
    for split, count in enumerate(per_user):
        for user in ids:
            for number in range(1, count + 1):
                name = f"ID_{user}/ID_{user}_{number:04d}.png"
                yield out / SPLITS[split] / name, split, user, number


def _write(users: dict[int, Walker], radar: Radar, seed: int, sample: Sample) -> None:
    path, split, user, number = sample
    rng = np.random.default_rng([seed, 1 + split, user, number])
    image = walking_image(users[user], radar, rng)
    write_png(path, image)
