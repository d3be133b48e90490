"""Outlines of flat shapes: closed polygons (N, 2) with x to the right and y down, in any unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outline = NDArray[np.float64]

SMOOTHNESS = 6  # points per segment of a smooth curve


def ellipse(x: float, y: float, width: float, height: float, points: int = 40) -> Outline:
    """An ellipse centred at (x, y) with the given half axes."""
    angles = np.arange(points) * (2 * np.pi / points)
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def circle(x: float, y: float, radius: float) -> Outline:
    """A circle centred at (x, y)."""
    return ellipse(x, y, radius, radius)


def rectangle(left: float, top: float, right: float, bottom: float) -> Outline:
    """An axis-aligned rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def rounded_rectangle(left: float, top: float, right: float, bottom: float, radius: float) -> Outline:
    """An axis-aligned rectangle with round corners; their radius is at most half a side."""
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    arc = np.linspace(0, np.pi / 2, 7)
    centres = [(right - radius, bottom - radius), (left + radius, bottom - radius)]
    centres += [(left + radius, top + radius), (right - radius, top + radius)]
    corners = [
        np.stack([x + radius * np.cos(arc + turn), y + radius * np.sin(arc + turn)], axis=1)
        for (x, y), turn in zip(centres, np.arange(4) * np.pi / 2, strict=True)
    ]
    return np.concatenate(corners)


def polygon(x: float, y: float, radius: float, corners: int, angle: float = 0.0) -> Outline:
    """A regular polygon with its first corner at the top, rotated clockwise by ``angle``."""
    return star(x, y, radius, radius, corners)[::2] if not angle else turned(polygon(x, y, radius, corners), angle)


def star(x: float, y: float, radius: float, inner_radius: float, tips: int) -> Outline:
    """A star with its first tip at the top."""
    angles = np.arange(2 * tips) * (np.pi / tips) - np.pi / 2
    radii = np.where(np.arange(2 * tips) % 2, inner_radius, radius)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


def smooth_closed(points: ArrayLike) -> Outline:
    """The closed Catmull-Rom curve through points."""
    through = np.asarray(points, dtype=np.float64)
    return _catmull_rom(np.roll(through, 1, 0), through, np.roll(through, -1, 0), np.roll(through, -2, 0))


def smooth_open(points: ArrayLike) -> Outline:
    """The open Catmull-Rom curve through points, including both ends."""
    through = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([2 * through[:1] - through[1:2], through, 2 * through[-1:] - through[-2:-1]])
    return np.concatenate([_catmull_rom(padded[:-3], padded[1:-2], padded[2:-1], padded[3:]), through[-1:]])


def _catmull_rom(before: Outline, start: Outline, end: Outline, after: Outline) -> Outline:
    t = (np.arange(SMOOTHNESS) / SMOOTHNESS)[:, None]
    before, start, end, after = (points[:, None] for points in (before, start, end, after))
    curve = start + 0.5 * t * (
        end - before + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )
    return curve.reshape(-1, 2)


def ribbon(line: Outline, width: float, end_width: float | None = None) -> Outline:
    """The outline of a thick line through points (N, 2), whose width may change linearly towards its end."""
    steps = np.gradient(line, axis=0)
    normals = np.stack([-steps[:, 1], steps[:, 0]], axis=1) / np.maximum(np.hypot(*steps.T), 1e-9)[:, None]
    halves = np.linspace(width, width if end_width is None else end_width, len(line))[:, None] / 2
    return np.concatenate([line + normals * halves, (line - normals * halves)[::-1]])


def leaf(x: float, y: float, length: float, width: float, angle: float = 0.0) -> Outline:
    """A leaf or petal that starts at (x, y) and points up, rotated clockwise by ``angle``."""
    rising = np.linspace(0, 1, 10)
    halves = width / 2 * np.sin(np.pi * rising**0.8)
    right = np.stack([halves, -length * rising], axis=1)
    left = np.stack([-halves, -length * rising], axis=1)[::-1]
    return moved(turned(np.concatenate([right, left[1:-1]]), angle), x, y)


def arc_band(x: float, y: float, radius: float, inner_radius: float, start: float, end: float) -> Outline:
    """The part of a ring between two angles, clockwise from the right."""
    angles = np.linspace(start, end, 24)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return moved(np.concatenate([directions * radius, directions[::-1] * inner_radius]), x, y)


def turned(outline: Outline, angle: float, centre: tuple[float, float] = (0.0, 0.0)) -> Outline:
    """Rotate an outline clockwise about a centre by ``angle`` in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray((outline - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre)


def moved(outline: Outline, x: float, y: float) -> Outline:
    """Move an outline to the right by x and down by y."""
    return np.asarray(outline + np.array([x, y]))


def outset(outline: Outline, distance: float) -> Outline:
    """Offset a closed outline outwards (inwards if negative), with mitres limited to twice the distance."""
    edges = np.roll(outline, -1, axis=0) - outline
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.maximum(np.hypot(*edges.T), 1e-9)[:, None]
    if signed_area(outline) < 0:
        normals = -normals
    sums = normals + np.roll(normals, 1, axis=0)
    reach = np.maximum((sums**2).sum(axis=1, keepdims=True) / 2, 0.5)
    return np.asarray(outline + sums / reach * distance)


def signed_area(outline: Outline) -> float:
    """Area of a closed outline, positive if it is clockwise as seen with y down."""
    x, y = outline.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
