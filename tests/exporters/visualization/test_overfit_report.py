from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporters.visualization.overfit_report import Criterion, verdict_line, write_report

GOOD = Criterion("relative depth error", 1.25, 2, True, " %")
BAD = Criterion("rotation error", 0.812, 0.5, False, "°")
IMAGE = np.full((12, 16, 3), 90, np.uint8)


def history(epochs: int) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        falling = math.exp(-epoch / 20)
        row = {"epoch": epoch, "train/loss_objective": 5 * falling - 1, "train/loss_camera": falling}
        row |= {"train/loss_conf_depth": falling - 0.5, "train/loss_reg_depth": 0.25, "train/loss_grad_depth": 0.5}
        if epoch % 5 == 0:
            row |= {"val/loss_objective": 6 * falling - 1, "val/rotation_error": falling, "val/pairs": 0}
        rows.append(row)
    return rows


def epochs_in(text: str) -> list[str]:
    table = text.split("## Losses")[1].split("Train and")[0]
    return re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)


def test_the_verdict_names_what_failed() -> None:
    assert verdict_line([GOOD, BAD]) == "FAIL: rotation error 0.812° (limit 0.5°)"
    assert verdict_line([GOOD]) == "PASS: relative depth error 1.25 % (limit 2 %)"
    with pytest.raises(ValueError, match="at least one"):
        verdict_line([])


def test_a_value_just_over_its_limit_does_not_look_equal() -> None:
    assert verdict_line([Criterion("error", 0.500004, 0.5, False)]) == "FAIL: error 0.500004 (limit 0.5)"


def test_a_nan_value_is_reported() -> None:
    assert verdict_line([Criterion("error", math.nan, 0.5, False)]) == "FAIL: error nan (limit 0.5)"


def test_the_report_shows_epochs_verdict_and_images(tmp_path: Path) -> None:
    images = {"Input, view 1": IMAGE, "Input: view 1": IMAGE, "Depth": IMAGE}
    report = write_report(tmp_path / "report", history(123), images, [GOOD, BAD], note="Red is near.")
    text = report.read_text(encoding="utf-8")
    assert report == tmp_path / "report" / "report.md"
    assert epochs_in(text) == ["1", "10", "50", "100", "123"]
    row = next(line for line in text.splitlines() if line.startswith("| 10 |"))
    falling = math.exp(-0.5)
    expected = [10, 5 * falling - 1, 6 * falling - 1, falling, falling + 0.25]
    assert [float(cell) for cell in row.strip("| ").split(" | ")] == pytest.approx(expected, rel=1e-3)
    assert "| 1 | 3.756 | – |" in text  # not validated then
    assert "| **rotation error** | **0.812°** | **0.5°** | **FAIL** |" in text
    assert "| relative depth error | 1.25 % | 2 % | pass |" in text
    assert "Red is near." in text
    links = re.findall(r"\]\((.+?)\)", text)
    assert len(set(links)) == len(links) == 5
    for link in links:
        with Image.open(report.parent / link) as image:
            assert image.format == "PNG"
    assert sorted(path.name for path in report.parent.iterdir()) == sorted(["report.md", *links])


def test_one_epoch_and_nan_losses_make_a_report(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "train/loss_objective": math.nan, "train/loss_camera": 0.0}]
    text = write_report(tmp_path, rows, {}, [BAD]).read_text(encoding="utf-8")
    assert epochs_in(text) == ["1"]
    assert "| 1 | nan | – | 0 | – |" in text
    assert "## Images" not in text


def test_a_report_replaces_the_last_one(tmp_path: Path) -> None:
    write_report(tmp_path, history(2), {"Depth": IMAGE}, [BAD])
    text = write_report(tmp_path, history(3), {"Depth": IMAGE}, [GOOD]).read_text(encoding="utf-8")
    assert "PASS" in text
    assert epochs_in(text) == ["1", "3"]


def test_a_history_without_epochs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        write_report(tmp_path, [], {}, [GOOD])
