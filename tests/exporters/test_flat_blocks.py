"""Flat parts of a height map take few triangles, without cracks."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from exporters.flat_blocks import block_faces


def surface(z: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> trimesh.Trimesh:
    rows, columns = np.indices(z.shape)
    vertices = np.stack([columns, -rows, z], axis=-1).reshape(-1, 3)
    return trimesh.Trimesh(vertices, block_faces(z), process=False)


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (17, 17), (33, 20), (40, 65)])
@pytest.mark.parametrize("levels", [1, 3])
def test_the_surface_is_that_of_two_triangles_per_cell(shape: tuple[int, int], levels: int) -> None:
    rng = np.random.default_rng(0)
    z = np.zeros(shape)
    for level in range(1, levels):
        top, left = rng.integers(0, np.array(shape) - 1)
        z[top : top + shape[0] // 2, left : left + shape[1] // 2] = level
    mesh = surface(z)
    flat = trimesh.Trimesh(mesh.vertices * [1, 1, 0], mesh.faces, process=False)
    assert flat.area == pytest.approx((shape[0] - 1) * (shape[1] - 1))  # covers the grid once
    assert (flat.face_normals[:, 2] > 0).all()
    # Without cracks, an edge that belongs to one triangle alone is on the border.
    edges, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    ends = mesh.vertices[edges[counts == 1]][:, :, :2]
    on_side = (ends == 0).all(1) | (ends == [shape[1] - 1, 1 - shape[0]]).all(1)
    assert on_side.any(1).all()
    assert counts.max() <= 2
    # Volume under the surface, by prisms.
    heights = mesh.triangles[:, :, 2].mean(1)
    cells = [z[:-1, :-1], z[1:, 1:], z[1:, :-1], z[:-1, 1:]]
    expected = (sum(cells[:3]) / 3 + (cells[0] + cells[1] + cells[3]) / 3).sum() / 2
    assert (heights * flat.area_faces).sum() == pytest.approx(expected)


def test_flat_parts_take_few_triangles() -> None:
    z = np.zeros((129, 129))
    assert len(block_faces(z)) == 2
    z[40:50, 60:90] = 1
    assert len(block_faces(z)) < 1200  # of 32,768
