"""A job ends with a report of its stages and results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from formats.images import read_rgb, write_png
from formats.spectrogram_axes import SpectrogramAxes
from prepare.job_report import write_job_report
from tests.prepare.test_pipeline import write_run
from tests.support.commands import write_spectrograms


def test_real_and_generated_images_are_next_to_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, real = tmp_path / "job", write_spectrograms(tmp_path / "real", train=3, val=2)
    SpectrogramAxes(2.0, -1.0, 4.0).write(real)
    for user in (1, 2):
        image = read_rgb(next((real / "val" / f"ID_{user}").iterdir()))
        write_png(out / f"samples/micro_doppler_user{user:02d}_001.png", image)
    write_run(out / "training", "version_0", "0.5 0.25", "last.ckpt")
    (out / "training/version_0/report.html").write_text("a stage's own")
    write_job_report(out, {"train": 61.0, "generate": 2.5}, real, out / "samples")
    page = (out / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    (data,) = json.loads(found[1]).values()
    assert [row["title"] for row in data["rows"]] == [f"User {u}, {k}" for u in (1, 2) for k in ("real", "generated")]
    assert [len(row["images"]) for row in data["rows"]] == [2, 1, 2, 1]  # the validation images
    assert data["axes"]["seconds"] == 2.0
    assert 'href="training/version_0/report.html"' in page
    assert "1 min 1 s" in page
    assert '<polyline class="curve val"' in page
    assert f"{out / 'report.html'}" in capsys.readouterr().out


def test_a_report_that_fails_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(match=r"report\.html could not be written: InputError"):
        write_job_report(tmp_path, {}, tmp_path / "missing", tmp_path)
