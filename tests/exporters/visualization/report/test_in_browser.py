"""Reports in headless Chromium: they open without errors, and their controls act."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage

from exporters.visualization.report.page import Section, report_page
from tests.support.report_sections import layers, scene, spectrograms

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

HELP = """
const root = document.querySelector("[data-kind]"), all = (query) => [...root.querySelectorAll(query)];
const labelled = (text) => root.querySelector(`[aria-label="${text}"]`);
function slide(text, value) { const bar = labelled(text); bar.value = value; bar.dispatchEvent(new Event("input")); }
const key = (element, name) => element.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const point = (element, kind, x, y, more = {}) => {
  const area = element.getBoundingClientRect();
  const place = { clientX: area.left + x * area.width, clientY: area.top + y * area.height };
  element.dispatchEvent(new PointerEvent(kind, { ...place, pointerId: 1, bubbles: true, ...more }));
};
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function drawn() {
  while (!root.querySelector(".layer-list, .view3d, .plot")) await wait(20);
  await wait(200);
}
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
Element.prototype.setPointerCapture = () => {};  // there is no such pointer
"""


def run(folder: Path, section: Section, script: str, width: int = 1000) -> dict[str, Any]:
    """Open a page with a section, run the body of an async function in it, and return what it returns."""
    answer = (
        f"{HELP}\n(async () => {{ await drawn(); {script} }})().then((found) => {{ const out = "
        'document.createElement("output"); out.id = "answer"; out.textContent = JSON.stringify(found); '
        "document.body.append(out); });"
    )
    page = folder / "page.html"
    text = report_page("Test", [section]).replace("</body>", f"<script>{answer}</script></body>")
    page.write_text(text, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},900"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *options, profile, "--virtual-time-budget=60000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert not re.findall(r"CONSOLE.*", done.stderr)
    found = re.search(r'<output id="answer">(.*?)</output>', done.stdout, re.DOTALL)
    assert found is not None
    answered: dict[str, Any] = json.loads(unescape(found[1]))
    return answered


def test_layers_are_moved_hidden_reordered_and_saved(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        layers(tmp_path),
        """
        const names = () => all(".layer-list .name").map((button) => button.textContent);
        const first = names(), stage = root.querySelector(".stage");
        labelled("Move layer 2 down").click();
        const later = names();
        labelled("Show background").click();
        point(stage, "pointerdown", 22 / 64, 22 / 48);
        point(stage, "pointermove", 32 / 64, 18 / 48);
        point(stage, "pointerup", 0, 0);
        key(stage, "ArrowLeft");
        const status = root.querySelector("[role=status]").textContent;
        slide("Pull apart", 100);
        const apart = all(".sheet").map((sheet) => Number(/([-\\d.]+)px\\)$/.exec(sheet.style.transform)[1]));
        const turned = root.querySelector(".pile").style.transform;
        key(stage, "ArrowRight");
        slide("image ↔ layer order", 25);
        return { first, later, status, apart, turned: [turned, root.querySelector(".pile").style.transform],
          edge: root.querySelector(".edge").style.left, ora: base64(root.files.openRaster()),
          psd: base64(root.files.photoshop()), svg: root.files.drawing() };
        """,
    )
    assert found["first"] == ["layer 2", "layer 1", "background"]
    assert found["later"] == ["layer 1", "layer 2", "background"]
    # The pointer is on the blue square, which the red one now covers.
    assert found["status"] == "layer 1 moved to 9, -4"
    assert found["edge"] == "25%"
    assert found["turned"][0] != found["turned"][1]
    heights = dict(zip(["background", "layer 1", "layer 2"], found["apart"], strict=True))
    assert heights["background"] < heights["layer 2"] - 50 < heights["layer 1"] - 100
    _check_open_raster(base64.b64decode(found["ora"]))
    _check_photoshop(base64.b64decode(found["psd"]))
    drawing = ElementTree.fromstring(found["svg"])
    titles = [group[0].text for group in drawing]
    assert titles == ["background", "layer 2", "layer 1"]
    assert drawing[0].get("display") == "none"
    assert drawing[2].get("transform", "").startswith("translate(9,-4) translate(")


def _check_open_raster(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.infolist()[0].filename == "mimetype"
        assert archive.read("mimetype") == b"image/openraster"
        entries = [entry.attrib for entry in ElementTree.fromstring(archive.read("stack.xml")).iter("layer")]
        assert [entry["name"] for entry in entries] == ["layer 1", "layer 2", "background"]
        assert [entry["visibility"] for entry in entries] == ["visible", "visible", "hidden"]
        assert (int(entries[0]["x"]), int(entries[0]["y"])) == (8 + 9, 8 - 4)
        with Image.open(io.BytesIO(archive.read(entries[0]["src"]))) as image:
            assert image.size == (28, 28)
            assert image.convert("RGB").getpixel((1, 1)) == (200, 20, 20)
        with Image.open(io.BytesIO(archive.read("mergedimage.png"))) as image:
            assert image.size == (64, 48)
            assert image.getpixel((20, 10)) == (200, 20, 20, 255)
            assert image.getpixel((0, 0)) == (0, 0, 0, 0)  # the background is hidden


def _check_photoshop(content: bytes) -> None:
    document = PSDImage.open(io.BytesIO(content))
    assert [layer.name for layer in document] == ["background", "layer 2", "layer 1"]
    assert [layer.visible for layer in document] == [False, True, True]
    assert document[2].offset == (17, 4)
    pixels = np.asarray(document[2].topil())
    assert pixels.shape == (28, 28, 4)
    assert (pixels == (200, 20, 20, 255)).all()


def test_scenes_are_turned_and_read(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        scene(),
        """
        const canvases = all(".view3d"), look = () => canvases.map((canvas) => canvas.toDataURL());
        await wait(200);
        const before = look();
        key(canvases[0], "ArrowLeft"); await wait(200);
        const turned = look();
        point(canvases[1], "pointerdown", 0.5, 0.5, { pointerType: "touch" });
        point(canvases[1], "pointermove", 0.6, 0.5, { pointerType: "touch", buttons: 1 }); await wait(200);
        point(canvases[1], "pointerup", 0.6, 0.5);
        const dragged = look();
        all("button").find((button) => button.textContent === "Reset").click(); await wait(200);
        const reset = look();
        for (const canvas of canvases) for (let x = 0.4; x < 0.6; x += 0.01) point(canvas, "pointermove", x, 0.5);
        const maps = all(".depths canvas");
        for (const map of maps) point(map, "pointermove", 0.2, 0.2);
        return { moved: [before[0] !== turned[0], before[1] !== turned[1], turned[0] !== dragged[0]],
          same: before[0] === reset[0], page: document.documentElement.scrollWidth,
          clouds: canvases.map((canvas) => canvas.nextElementSibling.textContent),
          maps: [maps[0], maps[3]].map((map) => map.closest("figure").querySelector(".readout").textContent) };
        """,
        width=500,
    )
    assert found["moved"] == [True, True, True]  # both clouds turn together
    assert found["same"]
    assert found["maps"] == ["Depth 1.500", "Depth 2.000"]
    assert re.fullmatch(r"Depth 1\.50\d from (left|right)", found["clouds"][0])
    assert re.fullmatch(r"Depth (2\.00|1\.99)\d from (left|right)", found["clouds"][1])
    assert found["page"] <= 500  # no sideways scrolling on a narrow screen


def test_spectrograms_are_chosen_and_read(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        spectrograms(),
        """
        const choice = labelled("User"), titles = all("h3");
        const shown = () => titles.filter((title) => !title.parentElement.hidden).map((title) => title.textContent);
        const every = shown();
        choice.value = "4"; choice.dispatchEvent(new Event("change"));
        const four = shown(), image = all("img").at(-1);
        point(image, "pointermove", 0.5, 0);
        const before = image.clientWidth;
        slide("Size of the images", 30);
        return { every, four, text: root.querySelector(".readout").textContent, wider: image.clientWidth / before };
        """,
    )
    assert len(found["every"]) == 4
    assert found["four"] == ["User 4, real", "User 4, generated"]
    assert found["text"] == "1.00 s, 4.00 m/s"
    assert found["wider"] > 1.5


@pytest.mark.parametrize("make", [scene, spectrograms])
def test_dark_mode_is_dark(tmp_path: Path, make: Callable[[], Section]) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(report_page("Test", [make()]), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,600", "--virtual-time-budget=2000"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"]
    levels = []
    for scheme in ("0", "1"):  # dark, light
        mode = f"--blink-settings=preferredColorScheme={scheme}"
        subprocess.run([str(CHROMIUM), *options, mode, page.as_uri()], capture_output=True, check=True, timeout=120)
        with Image.open(picture) as image:
            levels.append(float(np.median(np.asarray(image.convert("L")))))
    assert levels[0] < 60 < 200 < levels[1]
