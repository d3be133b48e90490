from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporters.visualization.overfit_report import Criterion, Findings, verdict_line, write_report

GOOD = Criterion("relative depth error", 1.25, 2, True, " %")
BAD = Criterion("rotation error", 0.812, 0.5, False, "°")
IMAGE = np.full((12, 16, 3), 90, np.uint8)


def history(epochs: int) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        falling = math.exp(-epoch / 20)
        row = {"epoch": epoch, "train/loss_objective": 5 * falling - 1, "train/loss_camera": falling}
        row |= {"train/loss_conf_depth": falling - 0.5, "train/loss_reg_depth": 0.25, "train/loss_grad_depth": 0.5}
        row["grad_norm/depth_head"] = falling
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


def test_a_range_shows_both_limits() -> None:
    norm = Criterion("gradient norm", 1234.5, 1000, False, least=1e-6)
    assert verdict_line([norm]) == "FAIL: gradient norm 1.23e+03 (limit 1e-06 to 1000)"


def test_a_nan_value_is_reported() -> None:
    assert verdict_line([Criterion("error", math.nan, 0.5, False)]) == "FAIL: error nan (limit 0.5)"


def test_the_report_shows_epochs_verdict_and_images(tmp_path: Path) -> None:
    images = {"Input, view 1": IMAGE, "Input: view 1": IMAGE, "Depth": IMAGE}
    findings = Findings(
        [("date", "today"), ("frozen modules", "none")],
        [GOOD, BAD],
        ["The objective falls."],
        ["rotation error 0.812°: try `--model.learning_rate 3e-5`."],
        "It does not memorise the pair.",
        [("depth_head.norm.weight", 3.5, 17)],
    )
    report = write_report(tmp_path / "report", history(123), images, findings, note="Red is near.")
    text = report.read_text(encoding="utf-8")
    assert report == tmp_path / "report" / "report.md"
    assert epochs_in(text) == ["1", "10", "50", "100", "123"]
    row = next(line for line in text.splitlines() if line.startswith("| 10 |"))
    falling = math.exp(-0.5)
    expected = [10, 5 * falling - 1, 6 * falling - 1, falling, 0.25, falling + 0.25]
    assert [float(cell) for cell in row.strip("| ").split(" | ")] == pytest.approx(expected, rel=1e-3)
    assert "| 1 | 3.756 | – |" in text  # not validated then
    assert "| **rotation error** | **0.812°** | **0.5°** | **FAIL** |" in text
    assert "| relative depth error | 1.25 % | 2 % | pass |" in text
    assert "Red is near." in text
    links = re.findall(r"\]\((.+?)\)", text)
    assert len(set(links)) == len(links) == 6
    assert "| epoch | train | validation | camera | depth (loss_reg_depth) | sum of the depth terms |" in text
    assert "| date | today |\n| frozen modules | none |" in text
    assert "## Observations\n\n- The objective falls." in text
    assert "## What to try\n\n- rotation error 0.812°: try `--model.learning_rate 3e-5`." in text
    assert "## Conclusion\n\nIt does not memorise the pair." in text
    assert "| `depth_head.norm.weight` | 3.5 | 17 |" in text
    for link in links:
        with Image.open(report.parent / link) as image:
            assert image.format == "PNG"
    assert sorted(path.name for path in report.parent.iterdir()) == sorted(["report.md", "report.html", *links])
    page = (report.parent / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 6
    assert "<code>--model.learning_rate 3e-5</code>" in page
    assert re.search(r'<tr class="marked"><td>rotation error</td>', page)


def test_one_epoch_and_nan_losses_make_a_report(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "train/loss_objective": math.nan, "train/loss_camera": 0.0}]
    text = write_report(tmp_path, rows, {}, Findings([], [BAD])).read_text(encoding="utf-8")
    assert epochs_in(text) == ["1"]
    assert "| 1 | nan | – | 0 | – | – |" in text
    assert not {"## Images", "## Experiment", "## What to try", "## Largest gradients"} & set(text.splitlines())


def test_a_report_replaces_the_last_one(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "train/loss_objective": 1.0} for epoch in (1, 2, 3)]
    write_report(tmp_path, rows[:2], {"Depth": IMAGE}, Findings([], [BAD]))
    text = write_report(tmp_path, rows, {"Depth": IMAGE}, Findings([], [GOOD])).read_text(encoding="utf-8")
    assert "PASS" in text
    assert epochs_in(text) == ["1", "3"]


def test_a_history_without_epochs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        write_report(tmp_path, [], {}, Findings([], [GOOD]))
