"""Images of depth, its error, its confidence, and cameras."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from exporters.visualization.contact_sheet import render_figure
from geometry.arrays import bool_array, float_array

INVALID = (64, 64, 64)  # dark grey, which none of the colour maps contains
LARGEST_ERROR = 0.2  # relative; fixed, so that error maps of different runs are comparable

LEGEND = (
    "Depth: from red (near) over green to dark violet (far), in equal steps of inverse depth. "
    f"Error: |predicted − true| / true, from black (0 %) to pale yellow ({100 * LARGEST_ERROR:.0f} % and more). "
    "Confidence: from dark (1, the least) to yellow. Grey: no valid depth."
)

_PREDICTED, _TRUE = "#d95f02", "#1b6ca8"


def depth_range(depth: Tensor | ArrayLike, valid: Tensor | ArrayLike | None = None) -> tuple[float, float]:
    """Return a near and a far depth that are robust to outliers: the 2nd and 98th percentile of the valid depths.

    Args:
        depth: Depth of any shape, for example all views of a scene; valid where finite and > 0.
        valid: Further condition, bool of the same shape.

    Returns:
        Near and far in the unit of the depth; 1 and 1 if nothing is valid.
    """
    metres = float_array(depth)
    chosen = metres[_valid(metres, valid)]
    if not chosen.size:
        return 1.0, 1.0
    near, far = np.percentile(chosen, (2, 98))
    return float(near), float(far)


def colour_depth(
    depth: Tensor | ArrayLike,
    valid: Tensor | ArrayLike | None = None,
    near: float | None = None,
    far: float | None = None,
) -> NDArray[np.uint8]:
    """Colour depth from red (near) to dark violet (far), in equal steps of inverse depth.

    Args:
        depth: (H, W), along the optical axis; valid where finite and > 0.
        valid: (H, W) bool, further condition.
        near: Depth shown in the darkest red, like all smaller ones; None uses `depth_range`. Pass near and far to give
            several maps the same colours.
        far: Depth shown in the darkest violet, like all larger ones.

    Returns:
        (H, W, 3); dark grey where invalid.
    """
    metres = float_array(depth)
    mask = _valid(metres, valid)
    robust = depth_range(metres, mask)
    near = robust[0] if near is None else near
    far = robust[1] if far is None else far
    inverse = 1 / np.where(mask, metres, 1.0)
    span = 1 / near - 1 / far
    share = (inverse - 1 / far) / span if span > 0 else np.full(metres.shape, 0.5)
    return _apply_colour_map(share, mask, "turbo")


def colour_error(
    predicted: Tensor | ArrayLike, true: Tensor | ArrayLike, mask: Tensor | ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Colour |predicted − true| / true on a fixed scale, from black at 0 to pale yellow at 20 % or more.

    Args:
        predicted: (H, W), in the unit of ``true``; NaN and infinity count as the largest error.
        true: (H, W), valid where finite and > 0.
        mask: (H, W) bool, further condition.

    Returns:
        (H, W, 3); dark grey where there is no true depth.
    """
    truth, guess = float_array(true), float_array(predicted)
    if truth.shape != guess.shape:
        raise ValueError(f"predicted depth {guess.shape} and true depth {truth.shape} must have the same shape")
    valid = _valid(truth, mask)
    safe_truth = np.where(valid, truth, 1.0)
    error = np.abs(np.where(np.isfinite(guess), guess, np.inf) - safe_truth) / safe_truth
    return _apply_colour_map(error / LARGEST_ERROR, valid, "inferno")


def colour_confidence(
    confidence: Tensor | ArrayLike, valid: Tensor | ArrayLike | None = None, highest: float | None = None
) -> NDArray[np.uint8]:
    """Colour confidence on a logarithmic scale, from dark at 1, the minimum of the network, to yellow.

    Args:
        confidence: (H, W), at least 1.
        valid: (H, W) bool; None uses every finite value.
        highest: Confidence shown in yellow, like all higher ones; None uses the 98th percentile.

    Returns:
        (H, W, 3); dark grey where invalid.
    """
    values = float_array(confidence)
    mask = _valid(values, valid)
    if highest is None:
        highest = float(np.percentile(values[mask], 98)) if mask.any() else 1.0
    scale = np.log(max(highest, 1 + 1e-6))
    return _apply_colour_map(np.log(np.where(mask, values, 1.0)) / scale, mask, "viridis")


def draw_frusta(
    extrinsics_pred: Tensor | ArrayLike,
    intrinsics: Tensor | ArrayLike,
    extrinsics_true: Tensor | ArrayLike | None = None,
    intrinsics_true: Tensor | ArrayLike | None = None,
    image_size: tuple[int, int] | None = None,
    side: int = 640,
) -> NDArray[np.uint8]:
    """Draw cameras as pyramids seen obliquely from above, predicted ones in orange over true ones in blue.

    "Above" is the world's −y, which is up in the first camera's image if its frame is the world. The height of the
    pyramids is a quarter of the cameras' extent and does not show depth.

    Args:
        extrinsics_pred: (V, 3, 4), world → camera; cameras that are not finite are left out and counted in the
            legend.
        intrinsics: (V, 3, 3), predicted, pixels.
        extrinsics_true: (V, 3, 4), in the frame AND the scale of the predicted ones.
        intrinsics_true: (V, 3, 3); None uses the field of view of the predicted ones.
        image_size: Height and width in pixels; None assumes that the principal points are the image centres.
        side: Side of the image in pixels.

    Returns:
        (side, side, 3), dark lines on white.
    """
    rigs = [_Rig("predicted", _PREDICTED, 1.5, float_array(extrinsics_pred), float_array(intrinsics))]
    if extrinsics_true is not None:
        opening = intrinsics if intrinsics_true is None else intrinsics_true
        # Drawn first and wider, so that they stay visible around predictions that coincide with them.
        rigs.insert(0, _Rig("true", _TRUE, 4.0, float_array(extrinsics_true), float_array(opening)))
    centres = np.concatenate([rig.centres() for rig in rigs])
    reach = np.ptp(centres, axis=0).max() if len(centres) else 0.0
    depth = 0.25 * reach if reach > 0 else 1.0

    figure = Figure(figsize=(side / 100, side / 100), dpi=100, facecolor="white")
    axes: Axes3D = figure.add_axes((0, 0, 1, 0.96), projection="3d", computed_zorder=False)
    drawn = [np.zeros((1, 3))] if not len(centres) else []
    for rig in rigs:
        axes.plot([], [], [], color=rig.colour, linewidth=rig.line_width, label=rig.label())
        for view in np.flatnonzero(rig.finite()):
            corners = _upright(_frustum(rig.extrinsics[view], rig.intrinsics[view], depth, image_size))
            drawn.append(corners)
            _draw_pyramid(axes, corners, rig)
            if rig is rigs[-1]:
                axes.text(*corners[0], f" {view + 1}", color="black", fontsize=11)
    _equal_axes(axes, np.concatenate(drawn))
    figure.legend(loc="upper left", frameon=False, fontsize=11)
    return render_figure(figure)


class _Rig(NamedTuple):
    """Cameras (V, 3, 4) and (V, 3, 3) drawn in the same style."""

    name: str
    colour: str
    line_width: float
    extrinsics: NDArray[np.float64]
    intrinsics: NDArray[np.float64]

    def finite(self) -> NDArray[np.bool_]:
        numbers = np.concatenate([self.extrinsics, self.intrinsics], axis=2)
        return np.asarray(np.isfinite(numbers).all((1, 2)))

    def centres(self) -> NDArray[np.float64]:
        poses = self.extrinsics[self.finite()]
        return np.asarray(-np.einsum("vji,vj->vi", poses[:, :, :3], poses[:, :, 3]))

    def label(self) -> str:
        lost = np.count_nonzero(~self.finite())
        return f"{self.name} ({lost} not finite)" if lost else self.name


def _frustum(
    extrinsics: NDArray[np.float64], intrinsics: NDArray[np.float64], depth: float, image_size: tuple[int, int] | None
) -> NDArray[np.float64]:
    """Return the camera's centre and the four corners of its image at ``depth``, in the world; (5, 3)."""
    # Pixel centres are whole numbers, so an image extends from −0.5 to its size − 0.5.
    right, bottom = (2 * intrinsics[:2, 2] + 0.5) if image_size is None else np.array(image_size[::-1]) - 0.5
    corners = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]])
    in_camera = np.concatenate([np.zeros((1, 3)), depth * corners @ np.linalg.inv(intrinsics).T])
    return (in_camera - extrinsics[:, 3]) @ extrinsics[:, :3]  # each row times R is Rᵀ times it


def _upright(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert OpenCV axes (y down) to those of the plot (z up)."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)


def _draw_pyramid(axes: Axes3D, corners: NDArray[np.float64], rig: _Rig) -> None:
    centre, image = corners[0], corners[1:]
    # A triangle above the upper edge of the image shows which way is up.
    tip = image[:2].mean(0) + 0.35 * (image[0] - image[3])
    edges = [np.concatenate([image, image[:1]]), np.stack([image[0], tip, image[1]])]
    rays = [np.stack([centre, corner]) for corner in image]
    for lines, width in ((edges, rig.line_width), (rays, rig.line_width / 2)):
        for line in lines:
            axes.plot(*line.T, color=rig.colour, linewidth=width)


def _equal_axes(axes: Axes3D, points: NDArray[np.float64]) -> None:
    low, high = points.min(0), points.max(0)
    spans = np.maximum(high - low, 0.3 * max((high - low).max(), 1e-6)) * 1.1
    middle = (low + high) / 2
    for axis, centre, span in zip("xyz", middle, spans, strict=True):
        getattr(axes, f"set_{axis}lim")(centre - span / 2, centre + span / 2)
    axes.set_box_aspect(spans, zoom=0.82)
    axes.view_init(elev=30, azim=-60)
    for axis, name in zip("xyz", ("x, right", "z, forward", "−y, up"), strict=True):
        getattr(axes, f"set_{axis}label")(name)
        getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(4))


def _valid(values: NDArray[np.float64], valid: Tensor | ArrayLike | None) -> NDArray[np.bool_]:
    mask = np.isfinite(values) & (values > 0)
    if valid is None:
        return mask
    condition = bool_array(valid)
    if condition.shape != values.shape:
        raise ValueError(f"the mask must have the shape of the values {values.shape}, not {condition.shape}")
    return mask & condition


def _apply_colour_map(share: NDArray[np.float64], mask: NDArray[np.bool_], colours: str) -> NDArray[np.uint8]:
    if share.ndim != 2:
        raise ValueError(f"a map must have shape (H, W), not {share.shape}")
    image: NDArray[np.uint8] = colormaps[colours](np.clip(np.where(mask, share, 0), 0, 1), bytes=True)[..., :3].copy()
    image[~mask] = INVALID
    return image
