from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from exporters.visualization.contact_sheet import contact_sheet, render_figure

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
