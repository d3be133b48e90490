"""The blind test is one page that loads nothing and does not show its key."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli import main
from exporters.blind_test_page import scramble, unscramble
from formats.errors import InputError
from formats.images import write_png
from formats.spectrogram_axes import SpectrogramAxes
from prepare.blind_test import blind_test

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Real images are red and generated ones blue; user 3 has one real image only."""
    rng = np.random.default_rng(0)
    for user, count in ((1, 9), (2, 9), (3, 1)):
        for number in range(count):
            image = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8)
            image[..., 0] = 255
            write_png(tmp_path / f"real/val/ID_{user}/{number}.png", image)
            write_png(
                tmp_path / f"generated/micro_doppler_user{user:02d}_{number + 1:03d}.png", image[..., ::-1].copy()
            )
    SpectrogramAxes(2.5, -1.5, 6.0).write(tmp_path / "real")
    return tmp_path / "real", tmp_path / "generated"


def content(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def is_red(uri: str) -> bool:
    with Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert not image.info
        return bool(np.asarray(image)[0, 0, 0] == 255)


def test_half_of_the_images_are_real_in_an_order_of_the_seed(folders: tuple[Path, Path]) -> None:
    words = ["prepare", "blind-test", f"--real={folders[0]}", f"--generated={folders[1]}", "--num_images=12"]
    main([*words, "--out=a.html"])
    main([*words, "--out=b.html"])
    main([*words, "--out=c.html", "--seed=1"])
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()
    orders = []
    for name in ("a.html", "c.html"):
        data = content(Path(name))
        truth = [is_red(uri) for uri in data["images"]]
        assert sum(truth) == 6
        assert len(set(data["images"])) == 12
        assert unscramble(data["key"], data["id"]) == truth
        for kind in (True, False):
            users = sorted(user for user, real in zip(data["users"], truth, strict=True) if real is kind)
            assert users == [1, 1, 1, 2, 2, 3] or users == [1, 1, 2, 2, 2, 3]
        orders.append(truth)
    assert orders[0] != orders[1]
    assert orders[0] not in (sorted(orders[0]), sorted(orders[0])[::-1])


def test_the_page_is_whole_and_loads_nothing(folders: tuple[Path, Path]) -> None:
    blind_test(*folders, Path("a.html"), num_images=4)
    text = Path("a.html").read_text(encoding="utf-8")
    without_images = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//\w|@import|url\(|<link|micro_doppler|ID_\d", without_images)
    assert "default-src 'none'" in text
    assert '<meta name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text
    ids: list[str] = []

    class Ids(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            ids.extend(value for name, value in attrs if name == "id" and value)

    Ids().feed(text)
    used = set(re.findall(r'element\("([\w-]+)"\)', text))
    assert used <= set(ids)
    assert len(ids) == len(set(ids))
    assert [text for _, text in content(Path("a.html"))["up"]][-1] == "6 m/s"


def test_the_key_looks_random() -> None:
    bits = [True] * 32
    key = scramble(bits, 5)
    assert unscramble(key, 5) == bits
    assert len({key[place : place + 2] for place in range(0, 64, 2)}) > 20
    assert 8 < sum(int(key[place : place + 2], 16) & 1 for place in range(0, 64, 2)) < 24


def test_tests_that_cannot_be_made_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    real, generated = folders
    with pytest.raises(
        InputError, match=r"real: holds 19 images of these users, fewer than 20. Choose --num_images 38"
    ):
        blind_test(real, generated, Path("a.html"), num_images=40)
    with pytest.raises(InputError, match="--num_images: must be an even number"):
        blind_test(real, generated, Path("a.html"), num_images=3)
    with pytest.raises(InputError, match="--out: must be the name of an .html file"):
        blind_test(real, generated, Path("a.txt"), num_images=4)
    Path("mine.html").write_text("mine")
    with pytest.raises(InputError, match=r"mine.html: exists, and is not a blind test"):
        blind_test(real, generated, Path("mine.html"), num_images=4)
    for path in generated.iterdir():
        write_png(path, np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="has another size than"):
        blind_test(real, generated, Path("a.html"), num_images=4)
    assert Path("mine.html").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_counts_answers_and_computes_the_interval(folders: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    blind_test(*folders, page, num_images=10)
    truth = [is_red(uri) for uri in content(page)["images"]]
    keys = ["r" if real else "g" for real in truth]
    keys[0] = "g" if truth[0] else "r"  # one answer of ten is wrong
    typed = "".join(
        f'document.dispatchEvent(new KeyboardEvent("keydown", {{key: "{key}"}}));' for key in ["r", "b", *keys]
    )
    driven = page.read_text(encoding="utf-8").replace("</body>", f"<script>{typed}</script></body>")
    page.write_text(driven, encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    shown = dict(re.findall(r'id="([\w-]+)"[^>]*>([^<]*)<', done.stdout))
    shown = {name: re.sub("&nbsp;|\u00a0", " ", text) for name, text in shown.items()}
    assert shown["accuracy"] == "90 % right (9 of 10)"
    assert shown["interval"].startswith("95 % confidence interval: 60 % to 98 %")  # Wilson's for 9 of 10
    assert shown["verdict"].startswith("The generated images were recognised")
    wrong = "real" if truth[0] else "generated"
    assert shown[f"of-{wrong}"] == ("4 of 5" if truth[0] else "1 of 5")
