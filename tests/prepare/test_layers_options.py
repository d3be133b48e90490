"""Options of `prepare layers` for training data, and texts in fonts that are not installed."""

from __future__ import annotations

from pathlib import Path

from formats.layered_art.pairs import layer_pair, read_layer_pair
from formats.svg.paint_order import draw_svg
from prepare.layers import layers

OPEN = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
GLOSS = (
    OPEN
    + '<rect x="16" y="16" width="32" height="32" fill="#123456"/><circle cx="32" cy="32" r="8" opacity=".1"/></svg>'
)
SHAPES = OPEN + '<rect x="8" y="8" width="40" height="40" fill="red"/><circle cx="36" cy="36" r="16"/></svg>'


def test_options_of_training_data(tmp_path: Path) -> None:
    source, out = tmp_path / "art", tmp_path / "pairs"
    source.mkdir()
    for name, text in (("a", SHAPES), ("b", GLOSS), ("c", SHAPES.replace("red", "#fe0000"))):
        (source / f"{name}.svg").write_text(text)
    settings = {"min_alpha": 0.2, "min_layers": 2, "drop_near_duplicates": True}
    layers(str(source), str(out), 64, 1, crop_margin=0.0, **settings)  # type: ignore[arg-type]
    report = (out / "report.csv").read_text()
    assert "b.svg,refused,too few layers" in report  # the gloss is none at this alpha
    assert "c.svg,refused,near-duplicate,of a.svg" in report
    image, orders = read_layer_pair(layer_pair(out, "all", "a"))
    assert orders.shape == (44, 44)  # cropped to what is painted
    layers(str(source), str(tmp_path / "coloured"), 64, 1, random_canvas=True)
    image, orders = read_layer_pair(layer_pair(tmp_path / "coloured", "all", "a"))
    assert orders[0, -1] == 0
    assert image[0, -1].tolist() != [255, 255, 255]


def test_a_text_in_a_font_that_is_not_installed_is_drawn(tmp_path: Path) -> None:
    text = OPEN + '<text y="40" font-size="30" font-family="No Such Font">{}</text><path d="M0 0h9v9z"/></svg>'
    (tmp_path / "a.svg").write_text(text.format("Wie"))
    drawn = draw_svg(tmp_path / "a.svg", 64)
    assert (drawn.numbers == 1).sum() > 100
    assert drawn.lost_texts == 0
