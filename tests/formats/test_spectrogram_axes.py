"""Axes are written next to images and checked when they are read."""

from pathlib import Path

import pytest

from formats.errors import InputError
from formats.spectrogram_axes import AXES, SpectrogramAxes


def test_axes_are_read_as_written(tmp_path: Path) -> None:
    axes = SpectrogramAxes(2.5, -1.5, 6.0)
    axes.write(tmp_path)
    assert SpectrogramAxes.read(tmp_path) == axes
    assert axes.zero_doppler_row == pytest.approx(0.8)
    (tmp_path / AXES).write_text('{"seconds": 2, "low_speed": -3, "high_speed": 3}')
    read = SpectrogramAxes.read(tmp_path)
    assert read is not None
    assert (read.speed_range, read.zero_doppler_row) == (6, 0.5)
    assert SpectrogramAxes.read(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"seconds": 0, "low_speed": -3, "high_speed": 3}', '{"seconds": "x"}'])
def test_other_contents_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / AXES).write_text(text)
    with pytest.raises(InputError, match=r"axes.json: .*Write it as"):
        SpectrogramAxes.read(tmp_path)
