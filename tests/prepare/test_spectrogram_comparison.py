"""The figure shows the median images of each user, real next to generated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from formats.errors import InputError
from formats.images import read_rgb, write_png
from prepare.spectrogram_comparison import median_distance, spectrogram_comparison


def test_middle_of_the_measures_is_nearest_to_the_median() -> None:
    table = torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 8.0], [90.0, 91.0]]).double()
    assert median_distance(table).argmin() == 2
    assert median_distance(table).argmax() == 4


def test_each_user_with_samples_has_two_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("data/val/ID_1/a.png", "data/val/ID_2/a.png", "samples/micro_doppler_user02_001.png"):
        write_png(tmp_path / name, rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    spectrogram_comparison(tmp_path / "data", tmp_path / "samples", tmp_path / "figure.png", per_user=1)
    figure = read_rgb(tmp_path / "figure.png")
    assert figure.shape[0] == 2 * (256 + 8) + 8  # user 1 has no samples
    with pytest.raises(InputError, match="holds no samples"):
        spectrogram_comparison(tmp_path / "data", tmp_path, tmp_path / "figure.png")
