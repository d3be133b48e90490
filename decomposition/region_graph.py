"""Measurements of regions and of adjacent pairs of regions, from which their order is predicted.

Lengths are measured in the root of the image's area, so that they do not depend on its resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

REGION_FEATURES = (
    "log_area", "area", "x", "y", "width", "height", "offset_from_centre", "border_share", "border_perimeter",
    "touches_border", "border_colour_step", "compactness", "thickness", "mean_depth", "line_likeness", "solidity",
    "extent", "hole_area", "holes_enclose", "enclosed_by", "largest_contact", "neighbours", "lightness", "a", "b",
    "chroma", "texture", "lightness_rank", "area_rank", "same_colour_regions", "same_colour_area", "boundary_lightness",
    "bottom", "top", "elongation",
)  # fmt: skip
PAIR_FEATURES = (
    "contact_of_first", "contact_of_second", "contact", "log_area_ratio", "first_in_holes", "second_in_holes",
    "first_in_hull", "second_in_hull", "fine_convexity", "coarse_convexity", "others_nearby", "t_votes", "t_first",
    "t_second", "junctions", "first_continues", "second_continues", "first_sibling_hull", "second_sibling_hull",
    "thickness_ratio", "colour_distance", "lightness_difference", "chroma_difference", "border_difference",
    "compactness_difference", "solidity_difference", "centre_difference", "contact_straightness",
)  # fmt: skip
SAME_COLOUR = 9.0  # distance in CIELAB
_FINE, _COARSE = 4, 11  # radii around a boundary point, in pixels of an image of 384 × 384
_POINTS = 20  # sampled of each common boundary


@dataclass(frozen=True)
class RegionGraph:
    """Regions and which of them are adjacent.

    Attributes:
        regions: (N, len(REGION_FEATURES)) float32.
        pairs: (P, 2) int32, numbers of adjacent regions, the smaller first.
        pair_features: (P, len(PAIR_FEATURES)) float32, of the first region against the second.
        swapped_features: (P, len(PAIR_FEATURES)) float32, of the second against the first.
        contacts: (P,) float32, length of the common boundary in pixel sides.
        areas: (N,) float32, in pixels.
    """

    regions: NDArray[np.float32]
    pairs: NDArray[np.int32]
    pair_features: NDArray[np.float32]
    swapped_features: NDArray[np.float32]
    contacts: NDArray[np.float32]
    areas: NDArray[np.float32]


def region_graph(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> RegionGraph:
    """Measure the regions of an image.

    Args:
        image: (H, W, 3) RGB.
        labels: (H, W), region numbers from 0 without gaps.
    """
    return _Measurement(image, labels).graph()


def colour_columns() -> list[int]:
    """Return the columns of ``RegionGraph.regions`` with the mean colour in CIELAB, in units of 50."""
    return [REGION_FEATURES.index(name) for name in ("lightness", "a", "b")]


def lab_colours(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert sRGB (…, 3) uint8 to CIELAB (D65), float32."""
    linear = image.astype(np.float32) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        np.float32,
    ) / np.array([[0.95047], [1.0], [1.08883]], np.float32)
    xyz = linear @ matrix.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


class _Measurement:
    """Quantities of the regions that the features share."""

    def __init__(self, image: NDArray[np.uint8], labels: NDArray[np.int32]) -> None:
        self.labels, self.count = labels, int(labels.max()) + 1
        self.height, self.width = labels.shape
        self.unit = float(np.sqrt(labels.size))
        self.flat = labels.reshape(-1)
        self.areas = self._sums(np.ones(labels.size))
        lab = lab_colours(image).reshape(-1, 3)
        self.colour = np.stack([self._sums(lab[:, c]) for c in range(3)], 1) / self.areas[:, None]
        squares = np.stack([self._sums(lab[:, c] ** 2) for c in range(3)], 1) / self.areas[:, None]
        self.texture = np.sqrt(np.maximum(squares - self.colour**2, 0).sum(1))
        self.boxes = ndimage.find_objects(labels + 1)
        self._contacts()
        self._shapes()

    def _sums(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(self.flat, np.asarray(values, np.float64), self.count).astype(
            np.float64
        )
        return sums

    def _contacts(self) -> None:
        """Find adjacent pairs, the places of their common boundaries, and contact with the image's border."""
        labels, sides = self.labels, []
        for axis, (a, b) in enumerate(((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:]))):
            rows, columns = np.nonzero(a != b)
            sides.append(np.stack([a[rows, columns], b[rows, columns], rows, columns, np.full(rows.size, axis)], 1))
        places = np.concatenate(sides).astype(np.int64)
        low, high = places[:, :2].min(1), places[:, :2].max(1)
        keys, self.place_pairs, contacts = np.unique(low * self.count + high, return_inverse=True, return_counts=True)
        self.places = places
        self.pairs = np.stack([keys // self.count, keys % self.count], 1)
        self.contacts = contacts.astype(np.float64)
        self.matrix = np.zeros((self.count, self.count))
        self.matrix[self.pairs[:, 0], self.pairs[:, 1]] = self.matrix[self.pairs[:, 1], self.pairs[:, 0]] = contacts
        border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        self.border = np.bincount(border, minlength=self.count).astype(np.float64)
        self.perimeter = self.matrix.sum(1) + self.border

    def _shapes(self) -> None:
        """Measure depth, holes, and what is within the holes and the convex hull of each region."""
        edge = np.zeros(self.labels.shape, np.bool_)
        rows, columns, axis = self.places[:, 2:].T
        edge[rows, columns] = True
        edge[rows + (axis == 0), columns + (axis == 1)] = True
        depth = ndimage.distance_transform_edt(~edge).reshape(-1) + 1 if edge.any() else np.full(self.flat.size, 99.0)
        self.mean_depth = self._sums(depth) / self.areas
        self.thickness = np.zeros(self.count)
        np.maximum.at(self.thickness, self.flat, depth)
        self.in_holes = np.zeros((self.count, self.count))  # [i, j]: share of j within holes of i
        self.in_hull = np.zeros((self.count, self.count))
        self.hull_area = np.zeros(self.count)
        self.elongation = np.zeros(self.count)
        for number, box in enumerate(self.boxes):
            crop = self.labels[box]
            own = crop == number
            if (self.matrix[number] > 0).sum() > 1:
                filled = ndimage.binary_fill_holes(own)
                inside = np.bincount(crop[filled & ~own], minlength=self.count)
                self.in_holes[number] = inside / self.areas
            within = crop[_hull_mask(own)]
            inside = np.bincount(within, minlength=self.count)
            self.hull_area[number] = inside.sum()
            inside[number] = 0
            self.in_hull[number] = inside / self.areas
            rows, columns = np.nonzero(own)
            if rows.size > 2:
                spread = np.linalg.eigvalsh(np.cov(rows, columns))
                self.elongation[number] = 1 - np.sqrt(max(spread[0], 0) / max(spread[1], 1e-6))

    def graph(self) -> RegionGraph:
        first, second = self.pairs.T
        regions = self._region_features()
        shared = self._boundary_features()
        siblings = self._sibling_features()
        return RegionGraph(
            regions.astype(np.float32),
            self.pairs.astype(np.int32),
            self._pair_features(regions, first, second, shared, siblings, 1).astype(np.float32),
            self._pair_features(regions, second, first, shared, siblings, -1).astype(np.float32),
            self.contacts.astype(np.float32),
            self.areas.astype(np.float32),
        )

    def _region_features(self) -> NDArray[np.float64]:
        n, size = self.count, self.labels.size
        rows, columns = np.divmod(np.arange(size), self.width)
        y, x = self._sums(rows) / self.areas / self.height, self._sums(columns) / self.areas / self.width
        tops, bottoms, lefts, rights = (
            np.array([box[axis].start if start else box[axis].stop for box in self.boxes], np.float64)
            for axis in (0, 1) for start in (True, False)
        )  # fmt: skip
        self.centre_offset = np.hypot(x - 0.5, y - 0.5)
        border_colour = (self.colour * self.border[:, None]).sum(0) / self.border.sum()
        distances = np.linalg.norm(self.colour[:, None] - self.colour[None], axis=2)
        self.same = (distances < SAME_COLOUR) & ~np.eye(n, dtype=np.bool_)
        self.chroma = np.hypot(*self.colour[:, 1:].T)
        self.compactness = 4 * np.pi * self.areas / np.maximum(self.perimeter, 1) ** 2
        self.solidity = self.areas / np.maximum(self.hull_area, 1)
        boxes = np.maximum((bottoms - tops) * (rights - lefts), 1)
        around = self.matrix @ self.colour[:, 0] / np.maximum(self.matrix.sum(1), 1)
        self.border_step = np.linalg.norm(self.colour - border_colour, axis=1)
        return np.stack(
            [
                np.log(self.areas / size), self.areas / size, x, y, (rights - lefts) / self.width,
                (bottoms - tops) / self.height, self.centre_offset, self.border / self.border.sum(),
                self.border / self.perimeter, self.border > 0, self.border_step / 50, self.compactness,
                self.thickness / self.unit * 10, self.mean_depth / self.unit * 10,
                self.perimeter * self.thickness / self.areas / 4, self.solidity, self.areas / boxes,
                (self.in_holes * self.areas).sum(1) / self.areas, (self.in_holes > 0.5).sum(1) / 10,
                (self.in_holes > 0.5).sum(0) / 3, self.matrix.max(1) / self.perimeter,
                (self.matrix > 0).sum(1) / 10, self.colour[:, 0] / 50 - 1, self.colour[:, 1] / 50,
                self.colour[:, 2] / 50, self.chroma / 50, self.texture / 10,
                _ranks(self.colour[:, 0]), _ranks(self.areas), np.log1p(self.same.sum(1)),
                self.same @ self.areas / size, (self.colour[:, 0] - around) / 50, bottoms / self.height,
                tops / self.height, self.elongation,
            ],
            axis=1,
        )  # fmt: skip

    def _boundary_features(self) -> NDArray[np.float64]:
        """(P, 8): convexity at two radii, other regions nearby, votes of T-junctions ×3, junctions, straightness."""
        scale = self.unit / 384
        fine, coarse = max(2, round(_FINE * scale)), max(4, round(_COARSE * scale))
        generator = np.random.default_rng(0)
        order = np.argsort(self.place_pairs + generator.random(len(self.places)))
        starts = np.concatenate([[0], np.cumsum(self.contacts).astype(np.int64)])[:-1]
        position = np.arange(len(order)) - starts[self.place_pairs[order]]
        chosen = order[position < _POINTS]
        pair = self.place_pairs[chosen]
        first, second = self.pairs[pair].T
        result = np.zeros((len(self.pairs), 8))
        samples = np.maximum(np.bincount(pair, minlength=len(self.pairs)), 1)
        for column, radius in ((0, fine), (1, coarse)):
            near = self._patches(self.places[chosen, 2], self.places[chosen, 3], radius)
            a, b = (near == first[:, None]).mean(1), (near == second[:, None]).mean(1)
            result[:, column] = np.bincount(pair, b - a, len(self.pairs)) / samples
            if column:
                result[:, 2] = np.bincount(pair, 1 - a - b, len(self.pairs)) / samples
                result[:, 7] = np.bincount(pair, np.abs(b - a), len(self.pairs)) / samples
        result[:, 3:7] = self._junction_votes(fine + 1)
        return result

    def _patches(self, rows: NDArray[np.int64], columns: NDArray[np.int64], radius: int) -> NDArray[np.int32]:
        """(K, pixels of a disc) the regions around places; −1 outside the image."""
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disc = y**2 + x**2 <= radius**2
        padded = np.pad(self.labels, radius, constant_values=-1)
        flat = (rows[:, None] + radius + y[disc]) * padded.shape[1] + columns[:, None] + radius + x[disc]
        regions: NDArray[np.int32] = padded.reshape(-1)[flat]
        return regions

    def _junction_votes(self, radius: int) -> NDArray[np.float64]:
        """(P, 4): where three regions meet, one that fills about half a disc passes in front of the other two."""
        labels = self.labels
        corners = np.stack([labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]], -1)
        ordered = np.sort(corners, axis=-1)
        rows, columns = np.nonzero((ordered[..., 1:] != ordered[..., :-1]).sum(-1) == 2)
        votes = np.zeros((len(self.pairs), 4))
        if not rows.size:
            return votes
        near = self._patches(rows, columns, radius)
        corner = ordered[rows, columns]
        is_new = np.concatenate([np.ones((len(corner), 1), np.bool_), corner[:, 1:] != corner[:, :-1]], 1)
        members = corner[is_new].reshape(-1, 3)
        share = np.stack([(near == members[:, k, None]).mean(1) for k in range(3)], 1)
        through = np.exp(-(((share - 0.5) / 0.08) ** 2))  # a straight edge passes through
        numbers = {(int(a), int(b)): place for place, (a, b) in enumerate(self.pairs)}
        for i, j in ((0, 1), (0, 2), (1, 2)):
            place = np.array([numbers.get((a, b), -1) for a, b in members[:, [i, j]].tolist()])
            valid = place >= 0
            values = (share[:, i] - share[:, j], through[:, i], through[:, j], np.ones(len(place)))
            for column, value in enumerate(values):
                votes[:, column] += np.bincount(place[valid], value[valid], len(self.pairs))
        votes[:, :3] /= np.maximum(votes[:, 3:], 1)
        votes[:, 3] = np.log1p(votes[:, 3])
        return votes

    def _sibling_features(self) -> NDArray[np.float64]:
        """(N, N, 2): regions of the colour of i that also touch j, and how much of j the hull of i and them covers."""
        touching = (self.matrix > 0).astype(np.float64)
        continues = (self.same * self.areas) @ touching / self.areas[:, None]
        centres = np.stack([self._sums(v) / self.areas for v in np.divmod(np.arange(self.labels.size), self.width)], 1)
        between = np.zeros((self.count, self.count))
        for i, j in np.concatenate([self.pairs, self.pairs[:, ::-1]]):
            others = np.flatnonzero(self.same[i] & (self.matrix[j] > 0))
            if others.size:
                # j is between i and another region of i's colour where both are on opposite sides of it
                to_own, to_others = centres[i] - centres[j], centres[others] - centres[j]
                lengths = np.linalg.norm(to_own) * np.linalg.norm(to_others, axis=1) + 1e-6
                between[i, j] = (-(to_others @ to_own) / lengths).max()
        return np.stack([np.log1p(np.minimum(continues, 50)), between], axis=2)

    def _pair_features(
        self,
        regions: NDArray[np.float64],
        i: NDArray[np.int64],
        j: NDArray[np.int64],
        shared: NDArray[np.float64],
        siblings: NDArray[np.float64],
        sign: int,
    ) -> NDArray[np.float64]:
        def difference(values: NDArray[np.floating]) -> NDArray[np.float64]:
            return values[i] - values[j]

        votes = shared[:, [4, 5]] if sign > 0 else shared[:, [5, 4]]
        return np.stack(
            [
                self.contacts / self.perimeter[i], self.contacts / self.perimeter[j], self.contacts / self.unit,
                difference(np.log(self.areas)), self.in_holes[j, i], self.in_holes[i, j], self.in_hull[j, i],
                self.in_hull[i, j], sign * shared[:, 0], sign * shared[:, 1], shared[:, 2], sign * shared[:, 3],
                votes[:, 0], votes[:, 1], shared[:, 6], siblings[i, j, 0], siblings[j, i, 0], siblings[i, j, 1],
                siblings[j, i, 1], difference(np.log(self.thickness)),
                np.linalg.norm(self.colour[i] - self.colour[j], axis=1) / 50, difference(self.colour[:, 0]) / 50,
                difference(self.chroma) / 50, difference(self.border / self.border.sum()),
                difference(self.compactness), difference(self.solidity), difference(self.centre_offset), shared[:, 7],
            ],
            axis=1,
        )  # fmt: skip


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Places of values among all, 0…1."""
    return np.argsort(np.argsort(values)) / max(1, len(values) - 1)


def _hull_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the convex hull of the pixels of a mask (H, W)."""
    left, right = mask.argmax(1), mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    rows = np.flatnonzero(mask.any(1))
    points = np.concatenate([np.stack([left[rows], rows], 1), np.stack([right[rows], rows], 1)])
    try:
        corners = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # on one line
        return mask
    image = Image.new("1", (mask.shape[1], mask.shape[0]))
    ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in corners], fill=1, outline=1)
    return np.asarray(image) | mask
