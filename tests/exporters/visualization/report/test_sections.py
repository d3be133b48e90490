"""Sections of a report on each task."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from exporters.visualization.report.scene import Scene, scene_section
from formats.images import read_rgba
from tests.support.report_sections import flat_scene, layers, scene, spectrograms


def pixels(png: str) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return np.asarray(image.convert("RGBA"))


def numbers(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), kind)


def test_layers_are_those_of_the_files(tmp_path: Path) -> None:
    section = layers(tmp_path)
    assert section.data is not None
    assert section.title == "Layers of squares"
    assert [layer["name"] for layer in section.data["layers"]] == ["background", "layer 1", "layer 2"]
    assert section.data["svg"].count("<title>") == 3
    assert section.data["reduced"] == ""
    for layer, path in zip(section.data["layers"], sorted((tmp_path / "squares/layers").iterdir()), strict=True):
        cropped = pixels(layer["png"])
        whole = np.zeros((48, 64, 4), np.uint8)
        whole[layer["y"] :, layer["x"] :][: cropped.shape[0], : cropped.shape[1]] = cropped
        np.testing.assert_array_equal(whole[..., 3], read_rgba(path)[..., 3])
        np.testing.assert_array_equal(whole[whole[..., 3] > 0], read_rgba(path)[whole[..., 3] > 0])


def test_layers_are_reduced_to_the_size_of_the_page(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("exporters.visualization.report.layers.MIN_SIDE", 16)
    section = layers(tmp_path, max_bytes=600)
    assert section.data is not None
    assert 16 <= section.data["width"] < 64
    assert section.data["height"] == round(section.data["width"] * 48 / 64)
    assert "of 64 × 48 pixels" in section.data["reduced"]
    assert section.data["svg"] is None


def test_points_and_cameras_come_back() -> None:
    section = scene()
    assert section.data is not None
    assert "a note" in section.body
    predicted, true = section.data["clouds"]
    for cloud, distance in ((predicted, 1.5), (true, 2.0)):
        positions = numbers(cloud["positions"], "<i2").reshape(-1, 3) * cloud["scale"] + section.data["centre"]
        np.testing.assert_allclose(positions[:, 2], distance, atol=1e-3)
        assert cloud["ends"] == [384, 768] if cloud is true else cloud["ends"][-1] == len(positions)
        np.testing.assert_allclose(cloud["cameras"][1][0], [1, 0, 0], atol=1e-6)  # the centre of the second camera
        assert len(numbers(cloud["colours"], "u1")) == 3 * len(positions)
    (left, right) = section.data["views"]
    assert [view["name"] for view in (left, right)] == ["left", "right"]
    assert [map_["title"] for map_ in right["maps"]] == ["Predicted depth", "True depth"]
    assert right["maps"][1]["least"] == right["maps"][1]["most"] == 2.0


def test_pixels_without_depth_are_left_out() -> None:
    wall = flat_scene()
    wall.depth[0, :8] = 0
    wall.depth[1, 0, 0] = torch.nan
    section = scene_section("Wall", ["a", "b"], torch.rand(2, 3, 16, 24), wall)
    assert section.data is not None
    (cloud,) = section.data["clouds"]
    assert cloud["ends"] == [192, 192 + 383]
    first = numbers(section.data["views"][0]["maps"][0]["values"], "<u2").reshape(16, 24)
    assert (first[:8] == 0).all()
    assert (first[8:] > 0).all()
    nothing = Scene(torch.zeros(2, 16, 24), wall.extrinsics, wall.intrinsics)
    assert "No pixel has a depth" in scene_section("Wall", ["a", "b"], torch.rand(2, 3, 16, 24), nothing).body


def test_spectrograms_have_axes_in_units() -> None:
    data = spectrograms().data
    assert data is not None
    assert [row["title"] for row in data["rows"]] == [
        "User 1, real",
        "User 1, generated",
        "User 4, real",
        "User 4, generated",
    ]
    assert [len(row["images"]) for row in data["rows"]] == [3, 3, 3, 3]
    assert data["axes"] == {"seconds": 2.0, "low_speed": -1.0, "high_speed": 4.0}
    assert data["up"][-1][1].endswith(" m/s")
    assert data["across"][-1][1].endswith(" s")
