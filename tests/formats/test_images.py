import numpy as np
import pytest
from PIL import Image

from formats.errors import InputError
from formats.images import on_white, read_grey, read_rgb, read_rgba, write_png


def test_round_trip(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), image)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_modes_become_rgb(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").shape == (3, 4, 3)


def test_truncated_missing_and_foreign_files_are_refused_by_name(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=name):
            read_rgb(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_rgb(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("text")
    with pytest.raises(InputError, match="no picture"):
        read_rgb(tmp_path / "c.png")


def test_alpha_and_sixteen_bits_come_back_as_written(tmp_path):
    generator = np.random.default_rng(0)
    rgba = generator.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    numbers = generator.integers(0, 65536, (9, 7), dtype=np.uint16)
    write_png(tmp_path / "rgba.png", rgba)
    write_png(tmp_path / "numbers.png", numbers)
    assert np.array_equal(read_rgba(tmp_path / "rgba.png"), rgba)
    assert np.array_equal(read_grey(tmp_path / "numbers.png"), numbers)
    with pytest.raises(InputError, match="mode RGBA where grey numbers"):
        read_grey(tmp_path / "rgba.png")


def test_on_white():
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], dtype=np.uint8)
    assert on_white(pixels).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]
