"""Curves of metrics.csv as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from exporters.visualization.report.curves import curves
from exporters.visualization.report.meanings import meaning
from metrics.depth import DepthErrors
from metrics.layer_order import LayerOrder
from metrics.pose import PoseErrors
from metrics.spectrogram_quality import BARS


def rows(count: int) -> list[dict[str, str]]:
    return [
        {
            "step": str(step),
            "epoch": str(step // 2),
            "train/loss": f"{10 / (step + 1)}",
            "val/loss": f"{step}" if step % 2 else "",
            "val/images": "4",
            "train/rate": "0.5",
        }
        for step in range(count)
    ]


def test_training_and_validation_share_a_panel() -> None:
    html = curves(rows(1000))
    panels = re.findall(r"<svg.*?</svg>", html)
    assert re.findall(r"<code>(.*?)</code>", html) == ["loss", "rate"]  # the objective first; counts are no curves
    lines = {line.get("class"): line.get("points", "") for line in ElementTree.fromstring(panels[0]).iter("polyline")}
    assert set(lines) == {"curve train", "curve val"}
    assert 100 < len(lines["curve train"].split()) <= 250
    assert "validation 999" in panels[0]  # the last value, in the label
    heights = [float(point.split(",")[1]) for point in lines["curve train"].split()]
    assert heights == sorted(heights)  # a falling loss goes down
    assert max(heights) - min(heights) > 80


def test_runs_without_curves_have_none() -> None:
    assert curves([]) == ""
    assert curves(rows(1)) == ""
    assert curves([{"step": "1", "val/loss": "nan"}, {"step": "2", "val/loss": "?"}]) == ""


def test_every_metric_has_a_meaning() -> None:
    names = [f"val/{name}" for metric in (DepthErrors(), PoseErrors(), LayerOrder()) for name in metric.compute()]
    names = [name for name in names if not name.startswith("val/images") and not name.startswith("val/pairs")]
    names += [f"test/{bar.key}" for bar in BARS] + ["train/loss_reg_depth", "val/loss", "train/loss_epoch"]
    assert [name for name in names if not meaning(name)] == []
    assert "as a share of the true depth, after scaling" in meaning("val/abs_rel_scaled")
    assert meaning("val/something") == ""
