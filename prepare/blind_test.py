"""Blind test for people: real or generated?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.sample_requests import find_samples
from datamodules.spectrograms import find_spectrograms
from exporters.blind_test_page import Question, blind_test_html
from exporters.visualization.spectrogram_sheet import scales
from formats.atomic import write_text
from formats.errors import InputError, check_settings
from formats.images import read_rgb
from formats.spectrogram_axes import SpectrogramAxes

_MARK = "<title>Real or generated?</title>"


def blind_test(
    real: Path,
    generated: Path,
    out: Path = Path("blind_test.html"),
    num_images: int = 40,
    split: str = "val",
    seed: int = 0,
) -> None:
    """Write a page on which a person judges whether spectrograms are real or generated.

    One HTML file that loads nothing from the network: half of its images are real, half generated, equally many of
    each user as far as possible, in random order. It keeps the answers in the browser, writes them as CSV, and shows
    the accuracy with its confidence interval at the end. Keys: R, G, and B for back.

    Args:
        real: Folder of real spectrograms with <split>/ID_<n>/*.png.
        generated: Folder that `predict` of a generator wrote.
        out: HTML file.
        num_images: Images of the test, an even number.
        split: Split of the real images; val holds those that the generator has not seen.
        seed: Seed of the choice and the order.

    Raises:
        InputError: There are too few images, they differ in size, or `out` is another file.
    """
    check_settings(
        {
            "--num_images": ("an even number of at least 2", num_images >= 2 and num_images % 2 == 0),
            "--seed": ("at least 0", seed >= 0),
            "--out": ("the name of an .html file", out.suffix.lower() in (".html", ".htm")),
        }
    )
    if out.exists() and _MARK not in out.read_text(encoding="utf-8", errors="replace"):
        raise InputError(out, "exists, and is not a blind test", "Choose another name.")
    by_user: dict[int, list[Path]] = {}
    for file in find_spectrograms(real, split):
        by_user.setdefault(file.user_id, []).append(file.path)
    samples = find_samples(generated, sorted(by_user))
    rng, half = np.random.default_rng(seed), num_images // 2
    chosen = [
        (path, user, is_real)
        for is_real, paths, folder in (
            (True, {user: by_user[user] for user in samples}, real),
            (False, samples, generated),
        )
        for user, path in _draw(paths, half, rng, folder)
    ]
    questions = []
    for place in rng.permutation(len(chosen)).tolist():
        path, user, is_real = chosen[place]
        questions.append(Question(read_rgb(path), is_real, user))
        if questions[-1].image.shape != questions[0].image.shape:
            height, width = questions[0].image.shape[:2]
            fault = f"has another size than {width}×{height}, by which it would be recognised"
            raise InputError(path, fault, "Give images of one size; a generator makes those of its training images.")
    across, up = scales(SpectrogramAxes.read(real))
    write_text(out, blind_test_html(questions, int(rng.integers(1, 2**32)), across, up))
    print(f"{out}: {half} real and {half} generated images of {len(samples)} users")


def _draw(paths: dict[int, list[Path]], count: int, rng: np.random.Generator, folder: Path) -> list[tuple[int, Path]]:
    """Draw images in turns of all users."""
    shuffled = {user: [own[place] for place in rng.permutation(len(own))] for user, own in paths.items()}
    turns = [
        (user, own[turn])
        for turn in range(max(map(len, shuffled.values())))
        for user, own in shuffled.items()
        if turn < len(own)
    ]
    if len(turns) < count:
        fault = f"holds {len(turns)} images of these users, fewer than {count}"
        raise InputError(folder, fault, f"Choose --num_images {2 * len(turns)} or less.")
    return turns[:count]
