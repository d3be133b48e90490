"""Layered files of three kinds become one dataset for training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cli
from datamodules.layered_art import LayeredArtDataModule
from decomposition.layer import Layer
from exporters.open_raster import write_open_raster
from exporters.photoshop import write_psd
from formats.errors import InputError
from formats.images import write_png
from formats.layered_art.layouts import open_layered_art
from tests.formats.layered_art.test_layered_files import BACKGROUND, BLUE, RED

LAYERS = [Layer("ground", BACKGROUND, 0.0), Layer("red", RED, 0.5), Layer("blue", BLUE, 1.0)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A PSD, an OpenRaster file, two parquet rows, and a broken PSD."""
    folder = tmp_path / "files"
    for name, write in (("posters/a.psd", write_psd), ("posters/b.ora", write_open_raster)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, LAYERS)
    (folder / "broken.psd").write_bytes((folder / "posters" / "a.psd").read_bytes()[:300])
    encoded = []
    for pixels in (BACKGROUND, RED, BLUE[6:18, 10:28]):
        write_png(tmp_path / "x.png", pixels)
        encoded.append((tmp_path / "x.png").read_bytes())
    columns = {"id": ["one", "two/2"], "style_category": ["toy style"] * 2, "layer_count": [2, 1]}
    columns |= {"whole_image": [encoded[0]] * 2, "base_image": [encoded[0]] * 2, "base_caption": ["sky", "sea"]}
    columns |= {"layer_00": [encoded[1]] * 2, "layer_00_box": [[0, 0, 30, 20]] * 2}
    columns |= {"layer_01": [encoded[2], None], "layer_01_box": [[10, 6, 28, 18], None]}
    columns |= {"layer_01_caption": ["a blue block", None]}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder


def test_layered_files_become_a_dataset(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["prepare", "parsed-dataset", f"--source={source}", f"--out={out}"]
    cli.main(words)
    printed = capsys.readouterr().out
    assert "4 converted, 1 refused" in printed
    assert "broken.psd: cannot be read as PSD" in printed
    art = open_layered_art(out)
    found = {(sample.category, sample.name) for sample in art.samples}
    assert found == {("posters", name) for name in found_names(found, "posters")} | {
        ("toy_style", "one_000000"),
        ("toy_style", "two_2_000001"),
    }
    expected = np.zeros((20, 30), np.uint16)
    expected[RED[..., 3] > 0] = 1
    one_layer = expected.copy()
    expected[BLUE[..., 3] > 0] = 2
    for sample in art.samples:
        orders = art.read(sample).orders
        assert np.array_equal(orders, one_layer if sample.name.startswith("two") else expected), sample
    metadata = json.loads((out / "toy_style" / "one_000000" / "metadata.json").read_text())
    assert metadata["base_caption"] == "sky"
    assert metadata["layers"][1] == {
        "layer_index": 1, "caption": "a blue block", "box": [10, 6, 28, 18], "width_dst": 18, "height_dst": 12,
        "image_path": "03_layer_01.png",
    }  # fmt: skip
    with (out / "report.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)].count("refused") == 1


def found_names(found: set[tuple[str, str]], category: str) -> set[str]:
    names = {name for group, name in found if group == category}
    assert len(names) == 2
    return names


def test_a_second_run_keeps_what_is_there(source: Path, tmp_path: Path) -> None:
    words = ["prepare", "parsed-dataset", f"--source={source}", f"--out={tmp_path}/out"]
    cli.main(words)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    missing = tmp_path / "out" / "toy_style" / "one_000000" / "metadata.json"
    missing.unlink()
    cli.main(words)
    kept = {path for path, time in times.items() if path.stat().st_mtime_ns == time}
    assert missing.is_file()
    assert kept == {path for path in times if path.parent != missing.parent}


def test_it_trains_from_the_result(source: Path, tmp_path: Path) -> None:
    cli.main(["prepare", "parsed-dataset", f"--source={source}", f"--out={tmp_path}/out", "--category=all"])
    data = LayeredArtDataModule(
        str(tmp_path / "out"), image_size=16, batch_size=2, val_share=0, test_share=0, num_workers=0
    )
    assert len(data._files("train")) == 4


def test_wrong_settings_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, fault in (
        ([f"--source={tmp_path}/no"], "no such folder"),
        ([f"--source={tmp_path}/empty"], "no .psd, .psb, .ora or .parquet"),
        ([f"--source={source}", "--min_layers=0"], "--min_layers: is 0"),
        ([f"--source={source}", "--min_layers=9"], "none of 5 samples"),
    ):
        with pytest.raises(InputError, match=fault):
            cli.main(["prepare", "parsed-dataset", *words, f"--out={tmp_path}/out"])
