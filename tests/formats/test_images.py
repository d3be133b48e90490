from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from formats.errors import InputError
from formats.images import find_images, on_white, open_image, read_grey, read_rgb, read_rgba, write_png


def test_round_trip(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), image)


@pytest.mark.parametrize(
    ("mode", "pixel", "rgb"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("LA", (90, 0), (90, 90, 90)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("P", 7, (70, 80, 200)),
    ],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, pixel: Any, rgb: tuple[int, int, int]) -> None:
    image = Image.new(mode, (4, 3))
    if mode == "P":
        image.putpalette([0, 0, 0] * 7 + [70, 80, 200])
    image.putpixel((3, 1), pixel)
    image.save(tmp_path / "a.png")
    expected = np.zeros((3, 4, 3), np.uint8)
    expected[1, 3] = rgb
    assert np.array_equal(read_rgb(tmp_path / "a.png"), expected)


def test_truncated_and_missing_files_and_text_are_refused_by_name(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="not an image"):
        read_rgb(tmp_path / "c.png")


def test_alpha_and_sixteen_bits_round_trip(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rgba = generator.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    numbers = generator.integers(0, 65536, (9, 7), dtype=np.uint16)
    write_png(tmp_path / "rgba.png", rgba)
    write_png(tmp_path / "numbers.png", numbers)
    assert np.array_equal(read_rgba(tmp_path / "rgba.png"), rgba)
    assert np.array_equal(read_grey(tmp_path / "numbers.png"), numbers)
    with pytest.raises(InputError, match="mode RGBA where grey values"):
        read_grey(tmp_path / "rgba.png")


@pytest.mark.parametrize("content", [False, True])
def test_a_decompression_bomb_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bool
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (200, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    source = path.read_bytes() if content else path
    with pytest.raises(InputError, match=r"bomb\.png.*decompression bomb"), open_image(source, path):
        pass


def test_the_content_of_a_file_is_opened_too(tmp_path: Path) -> None:
    Image.new("L", (5, 4), 9).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    with open_image(content, "row 3") as image:
        assert image.size == (5, 4)
    with (
        pytest.raises(InputError, match="row 3: cannot be read: .*Give another"),
        open_image(content[:-30], "row 3", "Give another.") as image,
    ):
        image.load()


def test_on_white() -> None:
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], dtype=np.uint8)
    assert on_white(pixels).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]


def test_sixteen_bit_greys_keep_their_range_and_floats_are_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "g.png", np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16))
    for pixels in (read_rgb(tmp_path / "g.png"), read_rgba(tmp_path / "g.png")[..., :3]):
        assert np.array_equal(pixels[..., 0].ravel(), np.arange(256))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match="floating-point"):
        read_rgba(tmp_path / "f.tif")


def test_a_photograph_is_read_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20), "white")
    exif = image.getexif()
    exif[0x0112] = 6  # turn by a quarter to show it
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_rgba(tmp_path / "a.jpg").shape == (30, 20, 4)


def test_hidden_files_in_a_folder_of_images_are_skipped(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "._a.png").write_bytes(b"not an image")
    assert find_images(str(tmp_path), "--data.images") == [tmp_path / "a.png"]
