from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import Scale, contact_sheet, render_figure

RED, GREEN = (255, 0, 0), (0, 255, 0)


def plain(height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def places(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of a colour."""
    rows, columns = np.nonzero((image == colour).all(-1))
    return rows, columns


def test_each_image_is_under_its_caption() -> None:
    red, green = plain(10, 20, RED), plain(30, 10, GREEN)
    sheet = contact_sheet({"view 1": [red, None], "view 2": [red, green]}, ["input", "depth"], height=60)
    rows, columns = places(sheet, RED)
    assert len(rows) == 2 * 60 * 120
    assert len(places(sheet, GREEN)[0]) == 60 * 20
    assert places(sheet, GREEN)[1].min() > columns.max()
    assert places(sheet, GREEN)[0].min() > rows.min()
    with pytest.raises(ValueError, match="view 1"):
        contact_sheet({"view 1": [red]}, ["input", "depth"])


def test_captions_and_labels_are_drawn() -> None:
    red = plain(60, 60, RED)
    labelled = contact_sheet({"view 1": [red]}, ["input"], height=60)
    assert (labelled[: places(labelled, RED)[0].min()] < 128).any()
    assert (labelled[:, : places(labelled, RED)[1].min()] < 128).any()


def test_without_captions_rows_may_differ_in_length() -> None:
    sheet = contact_sheet({"a": [plain(8, 8, RED)], "b": [plain(8, 8, RED), plain(8, 8, GREEN)]}, height=8)
    assert len(places(sheet, RED)[0]) == 2 * 64
    assert len(places(sheet, GREEN)[0]) == 64
    assert sheet.shape[0] < contact_sheet({"a": [plain(8, 8, RED)], "b": [plain(8, 8, RED)]}, ["c"], height=8).shape[0]


def test_a_sheet_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        contact_sheet({"a": [None]}, ["input"])


def test_a_figure_is_rendered_at_its_size() -> None:
    figure = Figure(figsize=(2, 1), dpi=50, facecolor="red")
    assert np.array_equal(render_figure(figure), plain(50, 100, RED))


def test_scales_have_their_ticks_at_round_values_of_each_image() -> None:
    up, across = Scale(-1.5, 6.0, "m/s"), Scale(0.0, 2.5, "s")
    assert [text for _, text in up.ticks()] == ["0", "2", "4", "6 m/s"]
    assert [share for share, _ in up.ticks()] == pytest.approx([0.2, 7 / 15, 11 / 15, 1])
    sheet = contact_sheet({"a": [plain(100, 100, RED)] * 2}, height=100, across=across, up=up)
    rows, columns = places(sheet, RED)
    top, left = rows.min(), columns.min()
    dark = np.asarray((sheet < 64).all(-1))
    assert [int(row - top) for row in np.flatnonzero(dark[:, left - 2])] == pytest.approx([0, 26, 53, 79], abs=1)
    below = np.flatnonzero(dark[rows.max() + 3])
    assert [int(column - left) for column in below] == pytest.approx([0, 40, 79, 108, 148, 187], abs=1)
