"""Triangles of a height map in which flat parts take few: a quadtree without cracks.

Example::

    faces = block_faces(z)                                   # (R, C) heights of vertices → (F, 3) numbers of vertices
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Faces = NDArray[np.int64]


def block_faces(z: NDArray[np.float64]) -> Faces:
    """Triangulate the surface over a grid of vertices, with one flat square in place of many.

    Squares of 2, 4, 8, … cells whose vertices have one height are joined. A square next to smaller ones gets their
    corners on its sides, so that the surface has no cracks; it is the same surface as that of two triangles per cell.

    Args:
        z: (R, C), heights of the vertices, 2 or more each way.

    Returns:
        (F, 3), vertices by their number in the flattened grid, counter-clockwise as seen from above where rows go down.
    """
    numbers = np.arange(z.size).reshape(z.shape)
    blocks = _blocks(z)
    used = np.zeros(z.size, dtype=bool)
    outlines = []
    for size, corners in blocks:
        outline = _outline(numbers, corners, size)
        used[outline[:, ::size]] = True
        outlines.append(outline)
    faces = []
    for (size, corners), outline in zip(blocks, outlines, strict=True):
        middle = numbers[corners[:, 0] + size // 2, corners[:, 1] + size // 2]
        plain = used[outline].sum(1) == 4
        a, b, c, d = outline[plain][:, ::size].T
        faces += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
        faces.append(_fans(outline[~plain], used[outline[~plain]], middle[~plain]))
    return np.concatenate(faces)


def _blocks(z: NDArray[np.float64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the squares of each size, in cells: row and column of their upper left vertices, (N, 2)."""
    corners = np.stack([z[:-1, :-1], z[1:, :-1], z[:-1, 1:], z[1:, 1:]])
    levels = [(corners.min(0), corners.max(0))]
    while min(levels[-1][0].shape) >= 2:
        low, high = (values[: len(values) // 2 * 2, : values.shape[1] // 2 * 2] for values in levels[-1])
        quarters = [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
        lowest = np.min([low[quarter] for quarter in quarters], axis=0)
        levels.append((lowest, np.max([high[quarter] for quarter in quarters], axis=0)))
    found, covered = [], np.zeros((1, 1), dtype=bool)
    for level in reversed(range(len(levels))):
        low, high = levels[level]
        parent = np.zeros(low.shape, dtype=bool)
        inside = covered.repeat(2, 0).repeat(2, 1)[: low.shape[0], : low.shape[1]]
        parent[: inside.shape[0], : inside.shape[1]] = inside if level < len(levels) - 1 else False
        own = ~parent & ((low == high) if level else True)
        found.append((2**level, np.argwhere(own) * 2**level))
        covered = parent | own
    return found


def _outline(numbers: Faces, corners: NDArray[np.int64], size: int) -> Faces:
    """Return the vertices around squares, (N, 4 · size), counter-clockwise from the upper left corner."""
    steps, none, end = np.arange(size), np.zeros(size, dtype=np.int64), np.full(size, size)
    rows = np.concatenate([steps, end, end - steps, none])
    columns = np.concatenate([none, steps, end, end - steps])
    outline: Faces = numbers[corners[:, :1] + rows, corners[:, 1:] + columns]
    return outline


def _fans(outline: Faces, used: NDArray[np.bool_], middle: Faces) -> Faces:
    """Connect the used vertices around each square, (N, M), with its middle, (N,)."""
    block, place = np.nonzero(used)
    vertices = outline[block, place]
    following = np.roll(vertices, -1)
    last = np.flatnonzero(np.diff(block, append=-1))
    first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    following[last] = vertices[first]
    return np.stack([middle[block], vertices, following], axis=1)
