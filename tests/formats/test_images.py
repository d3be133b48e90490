import numpy as np
import pytest
from PIL import Image

from formats.errors import InputError
from formats.images import find_images, on_white, read_grey, read_rgb, read_rgba, write_png


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


def test_sixteen_bit_greys_keep_their_range_and_floats_are_refused(tmp_path):
    write_png(tmp_path / "g.png", np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16))
    for pixels in (read_rgb(tmp_path / "g.png"), read_rgba(tmp_path / "g.png")[..., :3]):
        assert np.array_equal(pixels[..., 0].ravel(), np.arange(256))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match="floating-point"):
        read_rgba(tmp_path / "f.tif")


def test_a_photograph_is_read_upright(tmp_path):
    picture = Image.new("RGB", (30, 20), "white")
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by a quarter to show it
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_rgba(tmp_path / "a.jpg").shape == (30, 20, 4)


def test_files_that_systems_hide_beside_pictures_are_passed_over(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "._a.png").write_bytes(b"no picture")
    assert find_images(str(tmp_path), "--data.images") == [tmp_path / "a.png"]
