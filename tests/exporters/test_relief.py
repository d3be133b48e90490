from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from trimesh.visual import TextureVisuals

from exporters.relief import layer_heights, relief_mesh, write_relief


@pytest.fixture
def heights() -> NDArray[np.float32]:
    """A square on a background, its upper left corner touching another's by a corner only."""
    heights = np.zeros((30, 40), dtype=np.float32)
    heights[4:10, 6:12] = 0.5
    heights[10:20, 12:30] = 1
    return heights


@pytest.fixture
def image(heights: NDArray[np.float32]) -> NDArray[np.uint8]:
    pixels = np.full((*heights.shape, 3), (0, 0, 255), dtype=np.uint8)
    pixels[heights == 0.5] = (255, 0, 0)
    pixels[heights == 1] = (0, 255, 0)
    return pixels


def _height_at(mesh: trimesh.Trimesh, x: float, y: float) -> float:
    """Height of the top at a place, by the triangle that covers it."""
    a, b, c = mesh.triangles[mesh.face_normals[:, 2] > 1e-9].transpose(1, 0, 2)
    sides = np.stack([b - a, c - a], axis=2)[:, :2]
    shares = np.linalg.solve(sides, (np.array([x, y]) - a[:, :2])[..., None])[..., 0]
    covers = (shares >= -1e-9).all(1) & (shares.sum(1) <= 1 + 1e-9)
    return float((a + shares[:, :1] * (b - a) + shares[:, 1:] * (c - a))[covers, 2].max())


def _only_mesh(path: str) -> trimesh.Trimesh:
    (mesh,) = trimesh.load_scene(path).dump()
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def _vertex_colours(mesh: trimesh.Trimesh) -> NDArray[np.uint8]:
    assert isinstance(mesh.visual, TextureVisuals)
    return np.asarray(mesh.visual.to_color().vertex_colors)


def _check_solid(mesh: trimesh.Trimesh) -> None:
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.body_count == 1
    assert mesh.area_faces.min() > 0


def test_a_relief_is_a_solid_of_the_requested_size(heights: NDArray[np.float32]) -> None:
    mesh = relief_mesh(heights, width_mm=80, relief_mm=6, base_mm=1.5)
    _check_solid(mesh)
    np.testing.assert_allclose(mesh.bounds, [[0.0, 0.0, 0.0], [80.0, 60.0, 7.5]], atol=1e-9)
    # A pixel is 2 mm wide. Steps are centred on the pixels' edges, so only corners differ from upright walls.
    expected = 80 * 60 * 1.5 + 4 * 6 * float(heights.sum())
    assert mesh.volume == pytest.approx(expected, rel=2e-3)


def test_random_heights_make_a_solid() -> None:
    heights = np.random.default_rng(0).integers(0, 4, (17, 23)).astype(np.float32) / np.float32(3)
    mesh = relief_mesh(heights)
    _check_solid(mesh)
    side = 100 / 23
    assert mesh.volume == pytest.approx(side**2 * (2 * heights.size + 8 * float(heights.sum())), rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_the_smallest_maps_make_a_box(shape: tuple[int, int]) -> None:
    mesh = relief_mesh(np.ones(shape, dtype=np.float32), width_mm=10, relief_mm=3, base_mm=1)
    _check_solid(mesh)
    assert mesh.volume == pytest.approx(10 * 10 * shape[0] / shape[1] * 4)


def test_layers_are_flat_and_upright_as_seen_from_above(heights: NDArray[np.float32]) -> None:
    mesh = relief_mesh(heights, width_mm=40, relief_mm=10, base_mm=2)  # a pixel is 1 mm
    for row, column in ((0, 0), (4, 6), (9, 11), (10, 12), (10, 11), (19, 29), (20, 29), (29, 39)):
        assert _height_at(mesh, column + 0.5, 30 - row - 0.5) == pytest.approx(2 + 10 * heights[row, column])
    top = mesh.vertices[mesh.vertices[:, 2] > 0, 2]
    np.testing.assert_allclose(np.unique(top), [2, 7, 12])


def test_a_large_map_is_reduced_to_heights_it_has() -> None:
    heights = np.zeros((60, 90), dtype=np.float32)
    heights[:, 40:] = 0.25
    heights[7::10, 3::10] = 1  # less than half of any pixel of the reduced map
    mesh = relief_mesh(heights, width_mm=9, relief_mm=4, base_mm=1, max_side=9)
    _check_solid(mesh)
    assert mesh.bounds[1].tolist() == [9, 6, 2]
    assert set(np.unique(mesh.vertices[:, 2]).tolist()) == {0, 1, 2}
    assert _height_at(mesh, 3.5, 0.5) == 1
    assert _height_at(mesh, 4.5, 0.5) == 2


def test_the_bottom_takes_few_triangles() -> None:
    mesh = relief_mesh(np.zeros((50, 50), dtype=np.float32))
    flat = (mesh.triangles[:, :, 2] == 0).all(1)
    assert mesh.area_faces[flat].sum() == pytest.approx(100 * 100)
    assert flat.sum() <= 4 * 51 + 4


def test_stl_is_binary_and_in_millimetres(heights: NDArray[np.float32], image: NDArray[np.uint8]) -> None:
    write_relief("deep/relief.stl", "deep/relief.glb", heights, image, width_mm=80, relief_mm=6, base_mm=2)
    content = Path("deep/relief.stl").read_bytes()
    (count,) = struct.unpack("<I", content[80:84])
    assert len(content) == 84 + 50 * count
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
    triangles = np.frombuffer(content, dtype=record, offset=84)
    np.testing.assert_allclose(triangles["corners"].reshape(-1, 3).max(0), [80, 60, 8])
    first, second, third = triangles["corners"].astype(float).transpose(1, 0, 2)
    normals = np.cross(second - first, third - first)
    assert (np.einsum("ij,ij->i", normals, triangles["normal"]) > 0).all()
    volume = np.einsum("ij,ij->i", first, np.cross(second, third)).sum() / 6  # of signed tetrahedra: winds outward
    assert volume == pytest.approx(80 * 60 * 2 + 4 * 6 * float(heights.sum()), rel=2e-3)
    _check_solid(trimesh.load_mesh("deep/relief.stl"))
    assert sorted(path.name for path in Path("deep").iterdir()) == ["relief.glb", "relief.stl"]


def test_glb_is_in_metres_and_faces_the_viewer_in_its_colours(
    heights: NDArray[np.float32], image: NDArray[np.uint8]
) -> None:
    write_relief("relief.stl", "relief.glb", heights, image, width_mm=80, relief_mm=6, base_mm=2)
    content = Path("relief.glb").read_bytes()
    magic, version, length, json_length = struct.unpack("<4sIII", content[:16])
    assert (magic, version, length) == (b"glTF", 2, len(content))
    (primitive,) = json.loads(content[20 : 20 + json_length])["meshes"][0]["primitives"]
    assert "NORMAL" not in primitive["attributes"]  # so every triangle is shaded flat

    mesh = _only_mesh("relief.glb")
    np.testing.assert_allclose(mesh.bounds, [[0.0, 0.0, 0.0], [0.08, 0.06, 0.008]], atol=1e-8)
    _check_solid(trimesh.Trimesh(mesh.vertices, mesh.faces))
    colours = _vertex_colours(mesh)[:, :3]
    columns, rows = mesh.vertices[:, 0] / 0.002 - 0.5, 29.5 - mesh.vertices[:, 1] / 0.002
    middle = np.isclose(columns, columns.round(), atol=1e-4) & np.isclose(rows, rows.round(), atol=1e-4)
    places = rows[middle].round().astype(int), columns[middle].round().astype(int)
    assert {tuple(colour) for colour in image[places].tolist()} == {(0, 0, 255), (255, 0, 0), (0, 255, 0)}
    np.testing.assert_allclose(mesh.vertices[middle, 2], 0.002 + 0.006 * heights[places], atol=1e-7)
    np.testing.assert_array_equal(colours[middle], image[places])


def test_a_relief_without_an_image_and_one_with_alpha(heights: NDArray[np.float32]) -> None:
    write_relief("plain.stl", "plain.glb", heights)
    assert _only_mesh("plain.glb").is_volume
    clear = np.zeros((*heights.shape, 4), dtype=np.uint8)
    colours = _vertex_colours(relief_mesh(heights, clear))
    assert (colours == 255).all()


def test_heights_are_equally_spaced_or_by_index() -> None:
    labels = np.array([[-1, 0], [1, 2]])
    np.testing.assert_allclose(layer_heights(labels, [0.0, 0.1, 0.9]), [[0, 1 / 3], [2 / 3, 1]])
    np.testing.assert_allclose(layer_heights(labels, [0.0, 0.1, 0.9], spacing="index"), [[0.0, 0.0], [0.1, 0.9]])
    assert layer_heights(labels, [0.0, 0.1, 0.9]).dtype == np.float32


def test_wrong_heights_and_sizes_are_refused(heights: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="0 … 1"):
        relief_mesh(heights * 2)
    with pytest.raises(ValueError, match="0 … 1"):
        relief_mesh(heights * np.float32(np.nan))
    with pytest.raises(ValueError, match="base_mm"):
        relief_mesh(heights, base_mm=0)
    with pytest.raises(ValueError, match="do not match"):
        layer_heights(np.array([[2]]), [0.0, 1.0])
    with pytest.raises(ValueError, match="layer indices"):
        layer_heights(np.array([[0]]), [1.5])
